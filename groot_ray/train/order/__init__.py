"""The order of samples and everything random in training, as pure functions of the seed and the place in the run."""
