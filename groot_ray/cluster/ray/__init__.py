"""The Ray clusters of stages, Ray's job API and logs, and the program on the head of a submitted experiment.

It imports `kube`, but not Ray itself; the rest of `cluster` may import it.
"""
