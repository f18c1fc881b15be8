"""`groot-ray submit`, `status`, `logs` and `stop`: an experiment on a Ray cluster, driven from a laptop."""
