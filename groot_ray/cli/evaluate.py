"""`groot-ray evaluate`: compare checkpoints open-loop with recorded episodes."""

from __future__ import annotations

from typing import Annotated, Any, Optional

import typer

from groot_ray.cli import sections
from groot_ray.cli.documents import ExperimentFile, Force, Output, document_from
from groot_ray.cli.flags import GuideCommand, with_flags
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.stages import EVALUATE


def register(app: typer.Typer) -> None:
    app.command(EVALUATE.name, cls=GuideCommand)(with_flags(command, sections.of_stage(EVALUATE)))


def command(
    experiment: ExperimentFile = None,
    checkpoint: Annotated[
        Optional[list[str]],
        typer.Option(
            "--checkpoint", "--checkpoint-path", help="Checkpoint folder(s) or URI(s), instead of an experiment's"
        ),
    ] = None,
    dataset: Annotated[
        Optional[str],
        typer.Option(
            "--dataset",
            "--dataset-path",
            help="Converted dataset; the test split recorded in the checkpoint when not given",
        ),
    ] = None,
    output: Output = None,
    force: Force = False,
    overrides: Optional[dict[str, Any]] = None,
) -> None:
    """Predict every --action-horizon steps of recorded episodes and compare with the recorded actions.

    Writes metrics.json, evaluation_summary.txt and plots of each trajectory. A repeated call does nothing, unless
    --force is given.
    """
    overrides = overrides or {}
    if not checkpoint:
        if experiment is None:
            raise ConfigurationError(
                "evaluate needs an experiment file, or --checkpoint (see groot-ray evaluate --help)"
            )
        from groot_ray.stages import run_stage

        run_stage(document_from(experiment, overrides), EVALUATE.name, force=force, output=output)
        return
    from groot_ray.evaluate.plain import evaluate_into
    from groot_ray.evaluate.plan import EvaluationPlan
    from groot_ray.progress import progress
    from groot_ray.storage import open_location

    plain = {"experiment.name": "evaluation", "experiment.source.uri": ".", "experiment.embodiment": "aloha"}
    options = document_from(experiment, overrides, plain).experiment
    endpoint = options.storage.endpoint
    plan = EvaluationPlan(
        [open_location(uri, endpoint) for uri in checkpoint],
        open_location(dataset, endpoint) if dataset else None,
        open_location(output or "./eval_results", endpoint),
        options.evaluation,
        tag=options.embodiment_tag,
        tokenizer=options.model.tokenizer,
        cache=options.storage.cache,
    )
    with progress(EVALUATE.name, unit="trajectories") as work:
        evaluate_into(plan, progress=work, force=force)
