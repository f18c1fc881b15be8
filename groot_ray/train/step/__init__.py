"""The training step: loop, loader, optimizer, parallelism, and sums and decisions across workers.

Uses torch and datasets, but neither Ray nor storage. May import `order`; the rest of `train` imports it.
"""
