"""evaluate: compares checkpoints of a run with recorded episodes; writes metrics and plots."""

from __future__ import annotations

from typing import Any

from groot_ray.errors import DataError
from groot_ray.experiment.plan import evaluate_key
from groot_ray.experiment.stages import CONVERT, EVALUATE, FINETUNE
from groot_ray.progress import progress
from groot_ray.stages.base import Context, Made, Stage
from groot_ray.stages.place import Place
from groot_ray.stages.work import NotReady, Work
from groot_ray.storage.manifest import Manifest, read_manifest, record_files

NOT_RESULTS = ("attempts", "logs", "status.json", "provenance.json", "manifest.json")


class Evaluate(Stage):
    """Writes `metrics.json`, `evaluation_summary.txt` and a plot per trajectory."""

    declaration = EVALUATE

    def key(self, work: Work) -> str:
        return evaluate_key(
            work.experiment, work.place(CONVERT.name).name, work.place(FINETUNE.name).name, self._chosen(work)
        )

    def input(self, work: Work, name: str) -> Any:
        return self._chosen(work) if name == "weights" else super().input(work, name)

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

        manifest = work.place(FINETUNE.name).manifest()
        if manifest is None:
            raise NotReady(FINETUNE.name)
        weights: dict[str, str] = manifest.made["checkpoints"]
        steps, _ = choose_steps(
            sorted(map(int, weights)), work.experiment.evaluation.checkpoints, work.place(FINETUNE.name).folder.uri
        )
        return {str(step): weights[str(step)] for step in steps}

    def _check_weights(self, work: Work) -> None:
        """Raise `DataError` if a checkpoint's weights are not those that the run recorded when it ended."""
        run = work.place(FINETUNE.name).folder
        for step, weights in self._chosen(work).items():
            folder = run / f"checkpoint-{step}"
            manifest = read_manifest(folder)
            if manifest is not None and manifest.made.get("weights") != weights:
                raise DataError(
                    f"{folder.uri} has other weights than its run recorded when it ended; restore it from a copy, "
                    "train again with --force, or evaluate it by itself with --checkpoint"
                )

    def _evaluate(self, context: Context) -> dict[str, Any]:
        from groot_ray.evaluate.open_loop import evaluate
        from groot_ray.evaluate.plan import EvaluationPlan

        work = context.work
        experiment = work.experiment
        options = experiment.evaluation
        if not isinstance(options.checkpoints, list):  # of this target, not of a later extension of the run
            options = options.model_copy(update={"checkpoints": [int(step) for step in self._chosen(work)]})
        self._check_weights(work)
        plan = EvaluationPlan(
            [work.place(FINETUNE.name).folder],
            work.place(CONVERT.name).folder,
            context.output,
            options,
            tag=experiment.embodiment_tag,
            cache=experiment.storage.cache,
        )
        with progress(self.name, None, "trajectories", list(context.listeners)) as bar:
            return evaluate(plan, progress=bar, attempt=context.attempt.stoppable)


STAGE = Evaluate()


def is_result(path: str) -> bool:
    """Whether a file below the stage's folder belongs to the result rather than to the record of its attempts."""
    return path.endswith((".json", ".txt", ".csv", ".png")) and path.split("/")[0] not in NOT_RESULTS


def brief(metrics: dict[str, Any]) -> dict[str, Any]:
    """The averages in `metrics.json`, for the manifest: by checkpoint, with the baselines and the best checkpoint."""
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
