"""Datasets: one protocol for recordings in any source format; reading and writing GR00T's layout; inspect and validate.

May be imported by `statistics`, `convert` and above; it imports `experiment`, `embodiment`, `video`, `storage` and
below.
"""
