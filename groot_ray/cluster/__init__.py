"""Running stages on Kubernetes and on Ray clusters elsewhere: stage Jobs, submission from a laptop, checks, status.

Only `cli` may import it. Inside, imports go `submit > status > job > ray > kube`, and `doctor > ray`. A waiting Job
loads neither Ray nor torch.
"""
