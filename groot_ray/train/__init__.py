"""Finetuning: order of samples, loader, loop, optimizer, checkpoints, and Ray Train around them.

May import model, dataset, video, statistics, storage, embodiment and experiment; only `launcher` imports Ray, and only evaluate, stages, cluster and cli import this.
"""
