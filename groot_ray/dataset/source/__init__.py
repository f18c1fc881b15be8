"""Source datasets as robots record them: one protocol, one module per format, one line per format in `formats`.

May be imported by `convert`, `stages` and above, which use `formats` and `recording` and never name a format.
"""
