"""Ray Train around the training worker: starts the workers, follows them, and restarts them after a loss.

The only part of `train` that imports Ray; stages and cli import `launcher`.
"""
