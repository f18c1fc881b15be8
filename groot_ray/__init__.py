"""Finetune NVIDIA's GR00T on your own robot, at scale, with Ray on Kubernetes.

The folders are the pipeline, in the order in which data flows: `experiment`, `embodiment`, `storage`, `dataset`, `video`,
`convert`, `statistics`, `model`, `train`, `evaluate`, `stages`, `cluster`, `cli`. Importing this package imports nothing heavy.
"""

__version__ = "0.1.0"
