"""Running stages on Kubernetes and on Ray clusters elsewhere: the Jobs' entry point, submission from a laptop, status with advice, checks.

It is on top of everything but the command line; what a waiting Job imports (`job`, `api`, `ray_api`, `ray_cluster`) loads neither Ray nor torch.
"""
