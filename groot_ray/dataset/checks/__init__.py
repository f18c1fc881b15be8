"""Checks of a dataset in GR00T's layout, file by file; `validate` runs them all.

May be imported by the command line; it imports `dataset.groot` and `video`.
"""
