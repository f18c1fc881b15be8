"""Runs drawn documents in a process with a memory limit: a line of JSON for each, with how it ended.

usage: python run_drawn.py SOURCE FOLDER < documents, one as JSON in each line
"""

from __future__ import annotations

import json
import logging
import os
import resource
import shutil
import sys
import traceback
from pathlib import Path
from typing import Any

from groot_ray.convert.finish import finish
from groot_ray.convert.plan import ConversionRequest, make_plan
from groot_ray.convert.splits import split_episodes
from groot_ray.convert.task import Conversion, run_job
from groot_ray.dataset.source.formats import open_source
from groot_ray.embodiment import load_embodiment
from groot_ray.errors import GrootRayError
from groot_ray.evaluate.open_loop import evaluate
from groot_ray.evaluate.plan import EvaluationPlan
from groot_ray.experiment.agreement import check_agreement
from groot_ray.experiment.document import Document, build_document
from groot_ray.experiment.plan import source_request
from groot_ray.experiment.render import render_document
from groot_ray.experiment.stages import STAGE_NAMES
from groot_ray.storage import open_location
from groot_ray.train.plan import FinetunePlan
from groot_ray.train.ray.launcher import finetune
from groot_ray.yaml_text import parse_yaml

ROOM = 6 * 2**30  # bytes of address space beyond what the imports take
FIXED = {"training.max_steps": 1, "training.num_workers": 0, "conversion.resolution": 32}

DEFAULTS = {  # unless something else is drawn
    "splits": {"test": 1},
    "training": {"global_batch_size": 2, "dataloader_num_workers": 0},
    "evaluation": {"steps": 8, "denoising_steps": 1, "baselines": False, "plots": False},
}


class NoDispute:
    """The right to write where nobody else does."""

    def check(self) -> None:
        return None


def checked(source: str, sections: dict[str, Any]) -> Document:
    """What `groot-ray experiment check` does with a document, through its text; also its keys and its rendering."""
    model = {"base": None, "size": "tiny"}
    fixed = {"name": "drawn", "source": {"uri": source}, "embodiment": "trossen_mobile", "model": model}
    filled = {name: {**DEFAULTS.get(name, {}), **options} for name, options in sections.items()}
    text = json.dumps({"experiment": {**fixed, **filled}})
    document = build_document(parse_yaml(text, "drawn"))
    experiment = document.experiment
    check_agreement(experiment, load_embodiment(experiment.embodiment), STAGE_NAMES)
    source_request(experiment)
    json.dumps(render_document(document), allow_nan=False)
    return document


def run(source: str, document: Document, folder: Path) -> None:
    """Convert, finetune and evaluate, with so few steps and pixels that it takes seconds."""
    experiment = document.experiment
    for name, value in FIXED.items():
        section, option = name.split(".")
        setattr(getattr(experiment, section), option, value)
    experiment.evaluation.denoising_steps = min(experiment.evaluation.denoising_steps or 1, 3)
    robot, recording = load_embodiment(experiment.embodiment), open_source(open_location(source))
    splits = split_episodes([episode.index for episode in recording.episodes], experiment.splits)
    request = ConversionRequest(recording, robot, experiment.conversion, splits, open_location(folder / "data"))
    work = Conversion(request, make_plan(request), NoDispute())
    finish(work, [run_job(work, job) for job in work.plan.jobs], map)
    training = open_location(folder / "data" / "train")
    output = open_location(folder / "run")
    finetune(FinetunePlan(training, output, experiment.model, experiment.training, cache=str(folder / "cache")))
    part = open_location(folder / "data" / experiment.evaluation.split)
    plan = EvaluationPlan((output,), part, open_location(folder / "eval"), experiment.evaluation)
    evaluate(plan, distributed=False)


def ending(source: str, sections: dict[str, Any], folder: Path) -> dict[str, str]:
    """`result`; `refused` or `sentence` with the text; or `traceback`."""
    try:
        document = checked(source, sections)
    except GrootRayError as error:
        return {"end": "refused", "text": str(error)}
    except BaseException:
        return {"end": "traceback", "text": traceback.format_exc()}
    try:
        run(source, document, folder)
    except GrootRayError as error:
        return {"end": "sentence", "text": str(error)}
    except BaseException:
        return {"end": "traceback", "text": traceback.format_exc()}
    return {"end": "result", "text": ""}


def main(source: str, folder: Path) -> None:
    """Answer each document in turn."""
    answers, sys.stdout = sys.stdout, sys.stderr  # nothing else may write answers
    import torch

    torch.set_num_threads(1)
    logging.disable(logging.CRITICAL)
    used = int(Path("/proc/self/statm").read_text().split()[0]) * os.sysconf("SC_PAGE_SIZE")
    resource.setrlimit(resource.RLIMIT_AS, (used + ROOM, used + ROOM))
    for number, line in enumerate(sys.stdin):
        place = folder / str(number)
        print(json.dumps(ending(source, json.loads(line), place)), file=answers, flush=True)
        shutil.rmtree(place, ignore_errors=True)


if __name__ == "__main__":
    main(sys.argv[1], Path(sys.argv[2]))
