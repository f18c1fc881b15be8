"""Ray Train around the training worker: starts workers, follows them, restarts them after a loss."""
