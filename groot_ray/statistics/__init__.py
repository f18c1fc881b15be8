"""Statistics of datasets in GR00T's layout: mergeable accumulators, and stats.json and relative_stats.json from them.

May be imported by `convert` and above; it imports `dataset`, `storage` and the model's rotations. Reads no video.
"""
