"""Exit codes of a stage's Job: what they mean to people, and which are final. `groot_ray.errors` has the table."""

from __future__ import annotations

MEANINGS = {
    2: "the command line is wrong",
    64: "the configuration is wrong",
    65: "the data is wrong",
    66: "a stage before it failed",
    69: "a service is unavailable",
    70: "it was stopped",
    75: "it failed temporarily",
    137: "it was killed",
    143: "its pod was terminated",
}
NEVER_RETRIED = (2, 64, 65, 66, 70)  # by the chart's podFailurePolicy
