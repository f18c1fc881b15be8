"""GR00T N1.6: configuration, network, weights and processor.

Imports `model/shared`; nothing outside `model/` imports from here except through `model/family.py`.
"""
