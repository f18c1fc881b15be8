"""`groot-ray job STAGE`: the entry point of a stage's Kubernetes Job. `next_action` decides and `executor` performs.

It imports `kube` and `ray`; `submit` and `status` may import it.
"""
