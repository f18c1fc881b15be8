"""The fast training step on a GPU: the same mathematics, compiled and captured as CUDA graphs.

Applied from outside to a network that knows nothing of it (`model.shared.network.Region` names the pieces). Masters,
moments and checkpoints are those of the eager step, so a run may change between both. `choose` decides which one a run
uses.
"""
