"""Commands that measure one core and print tables; run them from the repository: ``python benchmarks/convert.py``.

They may import everything of the package, and nothing imports them.
"""
