"""Statistics of converted datasets: accumulators that merge, and the files stats.json and relative_stats.json made with them.

Reads numeric columns only, never video; imports `dataset`, `storage` and model's rotations, and is imported by `convert` and above."""
