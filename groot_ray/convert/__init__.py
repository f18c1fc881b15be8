"""Conversion of recordings to GR00T's layout: a pure function per episode, and a Ray Data pipeline with a ledger.

May be imported by `train` and above; it imports `statistics`, `dataset`, `video` and below, and Ray only in
`stream`, when it runs.
"""
