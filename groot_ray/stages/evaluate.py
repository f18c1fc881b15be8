"""evaluate: checkpoints of a run against recorded episodes, to metrics and plots."""

from __future__ import annotations

from typing import Any

from groot_ray.experiment.plan import evaluate_key
from groot_ray.experiment.schema import result_options
from groot_ray.progress import progress
from groot_ray.stages.base import Context, Made, NotReady, Stage
from groot_ray.stages.work import Place, Work
from groot_ray.storage.manifest import Manifest, record_files

NOT_RESULTS = ("attempts", "logs", "status.json", "provenance.json", "manifest.json")


class Evaluate(Stage):
    """`metrics.json`, `evaluation_summary.txt` and a plot for each trajectory."""

    name = "evaluate"
    after = ("finetune",)

    def key(self, work: Work) -> str:
        return evaluate_key(
            work.experiment, work.place("convert").name, work.place("finetune").name, self._chosen(work)
        )

    def inputs(self, work: Work) -> dict[str, Any]:
        return {
            "convert": work.place("convert").name,
            "finetune": work.place("finetune").name,
            "weights": self._chosen(work),
        }

    def options(self, work: Work) -> dict[str, Any]:
        return {"evaluation": result_options(work.experiment.evaluation)}

    def run(self, context: Context) -> Made:
        metrics = self._evaluate(context)
        paths = [entry.relative for entry in context.output.list() if is_result(entry.relative)]
        return Made(brief(metrics), record_files(context.output, paths), _sentence(metrics))

    def run_plain(self, context: Context) -> Made:
        return Made({}, [], _sentence(self._evaluate(context)))

    def describe(self, place: Place, manifest: Manifest) -> str:
        return f"{place.folder.uri}/evaluation_summary.txt"

    def _chosen(self, work: Work) -> dict[str, str]:
        """The checkpoints to evaluate: hashes of their weights by step."""
        from groot_ray.evaluate.checkpoints import choose_steps

        manifest = work.place("finetune").manifest()
        if manifest is None:
            raise NotReady("finetune")
        weights: dict[str, str] = manifest.made["checkpoints"]
        steps, _ = choose_steps(
            sorted(map(int, weights)), work.experiment.evaluation.checkpoints, work.place("finetune").folder.uri
        )
        return {str(step): weights[str(step)] for step in steps}

    def _evaluate(self, context: Context) -> dict[str, Any]:
        from groot_ray.evaluate.open_loop import evaluate

        work = context.work
        experiment = work.experiment
        options = experiment.evaluation
        if not isinstance(options.checkpoints, list):  # of this target, not of one that the run was extended to
            options = options.model_copy(update={"checkpoints": [int(step) for step in self._chosen(work)]})
        with progress("evaluate", None, "trajectories", list(context.listeners)) as bar:
            return evaluate(
                work.place("finetune").folder,
                work.place("convert").folder,
                options,
                context.output,
                tag=experiment.embodiment_tag,
                cache=experiment.storage.cache,
                progress=bar,
                attempt=context.attempt.stoppable,
            )


def is_result(path: str) -> bool:
    """Whether a file below the stage's folder is part of the result, and not of the account of how it was made."""
    return path.endswith((".json", ".txt", ".csv", ".png")) and path.split("/")[0] not in NOT_RESULTS


def brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """The averages of `metrics.json`, for the manifest: by checkpoint, with the baselines, and which is best."""
    entries = metrics.get("checkpoints") or {metrics["name"]: metrics}
    checkpoints = {
        name: {
            "average": entry["average"],
            "baselines": {kind: baseline.get("average") for kind, baseline in entry["baselines"].items()},
        }
        for name, entry in entries.items()
    }
    return {"best": metrics.get("best", next(iter(entries))), "checkpoints": checkpoints}


def _sentence(metrics: dict[str, Any]) -> str:
    from groot_ray.evaluate.results import verdict

    entries = metrics.get("checkpoints") or {"": metrics}
    return verdict(entries[metrics.get("best", "")])
