"""The stages of the pipeline as functions of a document: keys, manifests, attempts and logs around the packages that do the work.

May import everything but `cluster` and `cli`; what finds out whether a stage is done (`state`) loads neither Ray nor torch.
"""

from __future__ import annotations

from groot_ray.stages.base import Stage
from groot_ray.stages.convert import Convert
from groot_ray.stages.download import Download
from groot_ray.stages.evaluate import Evaluate
from groot_ray.stages.finetune import Finetune
from groot_ray.stages.runner import Outcome, run_all, run_stage, summary

STAGES: dict[str, Stage] = {stage.name: stage for stage in (Download(), Convert(), Finetune(), Evaluate())}

__all__ = ["STAGES", "Outcome", "run_all", "run_stage", "summary"]
