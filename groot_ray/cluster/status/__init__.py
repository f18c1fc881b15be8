"""`groot-ray cluster status`: each stage of a release with its Job, pods and progress.

It imports `kube` and `job`; `submit` may import it.
"""
