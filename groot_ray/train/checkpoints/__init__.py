"""What a run keeps in storage: checkpoints, optimizer state, the run's folder, and the thread that saves."""
