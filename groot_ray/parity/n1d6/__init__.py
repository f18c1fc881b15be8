"""Recordings of GR00T N1.6: its inputs as a batch, its activations by their recorded names, and its prompt.

Only `parity` imports from here, by name; it reaches the model through `groot_ray.model.family`.
"""
