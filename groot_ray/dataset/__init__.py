"""Datasets: LeRobot's versions in, lazily, as one kind of episode; GR00T's layout out and in again; inspect and validate.

May be imported by everything from `convert` upwards; it imports `embodiment`, `storage` and, to read and check pictures, `video`.
"""
