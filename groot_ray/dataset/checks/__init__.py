"""Checks of a converted dataset, file by file."""
