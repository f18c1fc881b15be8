"""The stages of the pipeline: keys, manifests, attempts and logs around the packages that do the work.

`cluster` and `cli` import it. `state`, which reads whether a stage is done, loads neither Ray nor torch.
"""

from __future__ import annotations

from groot_ray.stages.registry import STAGES
from groot_ray.stages.runner import Outcome, run_all, run_stage, summary

__all__ = ["STAGES", "Outcome", "run_all", "run_stage", "summary"]
