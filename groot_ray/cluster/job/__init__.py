"""`groot-ray job STAGE`: the entry point of a stage's Kubernetes Job."""
