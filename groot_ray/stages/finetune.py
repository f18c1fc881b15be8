"""finetune: trains a base model on the converted train part; more steps continue the same run."""

from __future__ import annotations

import hashlib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.plan import finetune_key
from groot_ray.experiment.schema import result_options
from groot_ray.experiment.stages import CONVERT, FINETUNE
from groot_ray.progress import progress
from groot_ray.stages.base import Context, Made, Stage
from groot_ray.stages.pin import pinned_files
from groot_ray.stages.place import Place
from groot_ray.stages.work import Work
from groot_ray.storage import Location
from groot_ray.storage.manifest import Manifest, read_manifest

if TYPE_CHECKING:
    from groot_ray.experiment.schema import ModelOptions
    from groot_ray.train.checkpoints.summary import FinetuneSummary


class Finetune(Stage):
    """A run: its folder holds `checkpoint-N/`, and a manifest `done-<max_steps>.json` for each reached target."""

    declaration = FINETUNE

    def key(self, work: Work) -> str:
        path = work.experiment.training.modality_config_path
        config = None if path is None else _file_hash(path)
        return finetune_key(work.experiment, work.model, work.place(CONVERT.name).name, config)

    def options(self, work: Work) -> dict[str, Any]:
        experiment = work.experiment
        model = result_options(experiment.model) | {"revision": work.model.revision}
        return {"training": result_options(experiment.training), "model": model, "tag": experiment.embodiment_tag}

    def proof(self, work: Work) -> str:
        return proof_of(work.experiment.training.max_steps)

    def fits(self, work: Work, place: Place) -> bool:
        """A run with a larger target cannot go back: fewer steps need a new generation."""
        steps = work.experiment.training.max_steps
        if (place.folder / place.proof).exists():
            return True
        return all(asked <= steps for asked in asked_for(place.folder))

    def run(self, context: Context) -> Made:
        made = self._train(context, force=False)
        folder = context.output
        checkpoints = {}
        for step in made.checkpoints:
            manifest = read_manifest(folder / f"checkpoint-{step}")
            if manifest is not None and step <= made.step:
                checkpoints[str(step)] = manifest.made["weights"]
        summary = {
            "step": made.step,
            "checkpoints": checkpoints,
            "first_loss": made.first_loss,
            "last_loss": made.last_loss,
        }
        return Made(summary, list(made.files), _sentence(made))

    def run_plain(self, context: Context) -> Made:
        return Made({}, [], _sentence(self._train(context, force=context.force)))

    def describe(self, place: Place, manifest: Manifest) -> str:
        return f"{place.folder.uri}/checkpoint-{manifest.made.get('step')}"

    def _train(self, context: Context, force: bool) -> FinetuneSummary:
        from groot_ray.train.plan import FinetunePlan
        from groot_ray.train.ray.launcher import finetune

        work, output = context.work, context.output
        experiment = work.experiment
        training = experiment.training
        # The last checkpoint of each earlier, shorter target is kept, regardless of save_total_limit.
        ends = [step for name in _names(output) if (step := steps_in(name)) is not None]
        training = training.model_copy(update={"keep_steps": sorted({*training.keep_steps, *ends})})
        plan = FinetunePlan(
            work.place(CONVERT.name).folder / "train",
            output,
            pinned_model(work),
            training,
            tag=experiment.embodiment_tag,
            cache=experiment.storage.cache,
            base_files=pinned_files(work.root, experiment, work.model),
        )
        with progress(self.name, training.max_steps, "steps", list(context.listeners), log_lines=False) as bar:
            return finetune(plan, lease=context.attempt.stoppable, progress=bar, force=force)


STAGE = Finetune()


def proof_of(max_steps: int) -> str:
    """Name of the manifest that proves that a run of `max_steps` steps is done."""
    return f"done-{max_steps}.json"


def steps_in(name: str) -> int | None:
    """The number of steps in such a manifest's name; None for any other name."""
    stem = name.removeprefix("done-").removesuffix(".json")
    return int(stem) if name.startswith("done-") and name.endswith(".json") and stem.isdigit() else None


def asked_for(folder: Location) -> list[int]:
    """Every `max_steps` with which a run was started, from its phases."""
    phases = [entry for entry in (folder / "phases").list(recursive=False) if entry.relative.endswith(".json")]
    return [int(entry.location.read_json()["max_steps"]) for entry in phases]


def _names(folder: Location) -> list[str]:
    return [entry.relative for entry in folder.list(recursive=False)]


def _sentence(made: FinetuneSummary) -> str:
    losses = f", loss {made.first_loss:.4f} to {made.last_loss:.4f}" if made.history else ""
    return f"trained {made.step} steps{losses}"


def pinned_model(work: Work) -> ModelOptions:
    """The document's model options with the commit that was pinned."""
    options = work.experiment.model
    return options.model_copy(update={"revision": work.model.revision}) if work.model.revision else options


@cache
def _file_hash(path: str) -> str:
    try:
        return hashlib.sha256(Path(path).read_bytes()).hexdigest()
    except OSError:
        raise ConfigurationError(
            f"the modality configuration {path!r} cannot be read; correct training.modality_config_path"
        ) from None
