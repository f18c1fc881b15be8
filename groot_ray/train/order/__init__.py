"""Order of samples and all randomness in training, as pure functions of the seed and the position in the run.

Uses numpy only, no torch. All of `train` may import it; it imports nothing from `train`.
"""
