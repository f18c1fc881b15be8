"""A checkpoint that answers observations, in model dimensions or in the robot's own.

`evaluate`, and later `serve` and `sim`, build on it; it imports `model`, `embodiment`, `video` and `storage`.
"""
