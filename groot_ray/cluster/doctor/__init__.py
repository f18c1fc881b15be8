"""`groot-ray doctor`: finds mistakes before any resource is requested.

It imports `kube` and `ray`; only `cli` may import it.
"""
