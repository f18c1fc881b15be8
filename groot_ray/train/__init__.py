"""Finetuning: `plan` describes a run, `worker` is one training worker, and the folders hold the worker's parts.

These are the `order` of samples, the training `step`, the `start` of a run, `checkpoints`, the first worker's
`recording`, and Ray Train around the workers (`ray`). May import model, convert, statistics, dataset, experiment,
embodiment, video and storage; evaluate, stages, cluster and cli import it.
"""
