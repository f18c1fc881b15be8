"""The content of ``metrics.json``, of one checkpoint and of several, and a one-line verdict. Pure functions."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from groot_ray.evaluate.checkpoints import Checkpoint
from groot_ray.evaluate.rating import DEFINITIONS, FORMAT
from groot_ray.evaluate.summary import VIEWS

if TYPE_CHECKING:
    from groot_ray.evaluate.record import Before
    from groot_ray.evaluate.run import Run

UNTRAINED = (
    "the weights before finetuning ({}), with this checkpoint's processing, the same observations and the same noise"
)
RATINGS = ("average", "deviation", "trajectories", "components", "dimensions")


def describe(
    checkpoint: Checkpoint,
    run: Run,
    result: Mapping[str, Any],
    before: Before | None,
    untrained: Mapping[str, Any] | None,
    notes: Sequence[str],
) -> dict[str, Any]:
    """The content of a checkpoint's ``metrics.json``.

    Args:
        result: the result of `run_policy` for the checkpoint.
        before: the weights before finetuning, where they are recorded.
        untrained: the result of `run_policy` for them; None if baselines were not requested.
        notes: sentences for the reader.
    """
    ratings = {key: result[key] for key in RATINGS}
    baselines: dict[str, Any] = {}
    if run.options.baselines:
        baselines["hold"] = against(ratings, result["hold"])
    if untrained is not None:
        baselines["untrained"] = against(
            ratings, {**untrained, "description": UNTRAINED.format(before or "not recorded")}
        )
    all_notes = list(notes)
    if not result["described"]:
        all_notes.append("neither dataset nor checkpoint describes the robot, so every dimension counts as its own")
    return {
        "format": FORMAT,
        "name": checkpoint.name,
        "step": checkpoint.step,
        "checkpoint": checkpoint.location.uri,
        "dataset": run.dataset.uri,
        "tag": result["tag"],
        "fps": result["fps"],
        "options": {
            "steps": run.options.steps,
            "action_horizon": run.options.action_horizon,
            "denoising_steps": result["denoising_steps"],
            "seed": run.options.seed,
        },
        "notes": all_notes,
        "definitions": DEFINITIONS,
        **ratings,
        "baselines": baselines,
    }


def against(ratings: Mapping[str, Any], baseline: Mapping[str, Any]) -> dict[str, Any]:
    """A baseline's entry in ``metrics.json``: its averages, and whether the checkpoint's MAE is lower (``beaten``)."""
    if "unavailable" in baseline:
        return {"description": baseline["description"], "unavailable": baseline["unavailable"]}
    beaten = {
        view: None if scores is None else scores["mae"] < baseline["average"][view]["mae"]
        for view, scores in ratings["average"].items()
    }
    kept = {key: baseline[key] for key in ("description", "average", "deviation", "components")}
    return {**kept, "beaten": beaten}


def judged(entries: Sequence[Mapping[str, Any]]) -> str:
    """The view by which checkpoints are ranked: the robot's own dimensions, if it has any."""
    return "real" if all(entry["average"]["real"] is not None for entry in entries) else "all"


def verdict(entry: Mapping[str, Any]) -> str:
    """One line for the log: the MAE, and the baselines that it beats."""
    view = judged([entry])
    parts = [f"{entry['name']}: MAE {entry['average'][view]['mae']:.4f} over {VIEWS[view]}"]
    for name, baseline in entry["baselines"].items():
        if "unavailable" in baseline:
            parts.append(f"{name} not evaluated ({baseline['unavailable']})")
        else:
            word = "beaten" if baseline["beaten"][view] else "NOT beaten"
            parts.append(f"{name} {baseline['average'][view]['mae']:.4f} ({word})")
    return ", ".join(parts)


def compare(named: Mapping[str, Mapping[str, Any]], notes: Sequence[str]) -> dict[str, Any]:
    """The content of the top ``metrics.json`` that compares several checkpoints, `named` by their folders.

    ``best`` has the lowest MAE over the robot's own dimensions.
    """
    view = judged(list(named.values()))
    best = min(named, key=lambda name: named[name]["average"][view]["mae"])
    dataset = next(iter(named.values()))["dataset"]
    return {
        "format": FORMAT,
        "dataset": dataset,
        "notes": list(notes),
        "best": best,
        "judged_by": view,
        "checkpoints": dict(named),
    }
