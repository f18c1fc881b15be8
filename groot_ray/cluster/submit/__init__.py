"""`groot-ray submit`, `status`, `logs` and `stop`: an experiment on a Ray cluster, driven from a laptop.

It imports `ray`, `job` and `status`; only `cli` may import it.
"""
