"""The layout that GR00T trains on (LeRobot v2.1 with a modality.json): paths, meta files, reading."""
