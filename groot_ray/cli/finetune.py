"""`groot-ray finetune`: the finetune stage or, with --dataset-path, NVIDIA's launch line with another program name."""

from __future__ import annotations

import logging
from typing import Annotated, Any, Optional

import typer

from groot_ray.cli import sections
from groot_ray.cli.documents import ExperimentFile, Force, Output, document_from
from groot_ray.cli.flags import GuideCommand, with_flags
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.stages import FINETUNE

log = logging.getLogger(__name__)


def register(app: typer.Typer) -> None:
    app.command(FINETUNE.name, cls=GuideCommand)(with_flags(command, sections.of_stage(FINETUNE)))


def command(
    experiment: ExperimentFile = None,
    dataset_path: Annotated[
        Optional[str],
        typer.Option(
            "--dataset-path", help="Converted dataset (folder or s3:// URI) to train on, instead of an experiment's"
        ),
    ] = None,
    output: Output = None,
    force: Force = False,
    shard_size: Annotated[
        Optional[int], typer.Option(help="Accepted for NVIDIA's launch lines; there are no shards here")
    ] = None,
    episode_sampling_rate: Annotated[Optional[float], typer.Option(help="Accepted for NVIDIA's launch lines")] = None,
    num_shards_per_epoch: Annotated[Optional[int], typer.Option(help="Accepted for NVIDIA's launch lines")] = None,
    overrides: Optional[dict[str, Any]] = None,
) -> None:
    """Finetune GR00T N1.6 on a converted dataset with Ray Train.

    Either an experiment file, or --dataset-path with --output-dir as in the guides:
    groot-ray finetune --base-model-path nvidia/GR00T-N1.6-3B --dataset-path ./data/aloha_groot_format
    --embodiment-tag GR1 --output-dir ./outputs/aloha_finetune --learning-rate 1e-4 --global-batch-size 32
    --max-steps 5000 --save-steps 500 --num-gpus 1
    """
    for name, value in {
        "--shard-size": shard_size,
        "--episode-sampling-rate": episode_sampling_rate,
        "--num-shards-per-epoch": num_shards_per_epoch,
    }.items():
        if value is not None:
            log.info(
                "%s is accepted and has no effect: samples are drawn one by one from all episodes, not from shards",
                name,
            )
    overrides = overrides or {}
    if dataset_path is None:
        if experiment is None:
            raise ConfigurationError(
                "finetune needs an experiment file, or --dataset-path with --output-dir (see groot-ray finetune --help)"
            )
        from groot_ray.stages import run_stage

        run_stage(document_from(experiment, overrides), FINETUNE.name, force=force, output=output)
        return
    finetune_folder(dataset_path, output or "./outputs", document_from(experiment, overrides, _PLAIN), force)


# The schema requires these of a document; a plain dataset folder does not use them.
_PLAIN = {"experiment.name": FINETUNE.name, "experiment.source.uri": ".", "experiment.embodiment": "aloha"}


def finetune_folder(dataset_path: str, output: str, document: Any, force: bool = False) -> None:
    """Finetune on a dataset in GR00T's layout and write checkpoints to a plain folder or URI."""
    from groot_ray.progress import progress
    from groot_ray.storage import open_location
    from groot_ray.train.plan import FinetunePlan
    from groot_ray.train.ray.launcher import finetune

    experiment = document.experiment
    endpoint = experiment.storage.endpoint
    target = open_location(output, endpoint)
    if experiment.training.experiment_name:
        target = target / experiment.training.experiment_name
    plan = FinetunePlan(
        open_location(dataset_path, endpoint),
        target,
        experiment.model,
        experiment.training,
        tag=experiment.embodiment_tag,
        cache=experiment.storage.cache,
    )
    with progress(FINETUNE.name, experiment.training.max_steps, log_lines=False) as work:
        finetune(plan, progress=work, force=force)
