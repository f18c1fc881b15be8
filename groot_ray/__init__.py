"""Finetune NVIDIA's GR00T on your own robot, at scale, with Ray on Kubernetes.

The folders are the pipeline, in the order in which data flows: `experiment`, `embodiment`, `storage`, `video`,
`dataset`, `statistics`, `convert`, `model`, `train`, `policy`, `evaluate`, `stages`, `cluster`, `cli`.
docs/architecture.md says which may import which. Importing this package imports nothing heavy.
"""

__version__ = "0.1.0"
