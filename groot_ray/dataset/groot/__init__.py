"""The layout that GR00T trains on (LeRobot v2.1 with a modality.json): paths, metadata, reading samples.

May be imported by `statistics`, `convert`, `train` and above; it imports the rest of `dataset`, `video` and `storage`.
"""
