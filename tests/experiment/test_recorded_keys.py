"""Results that exist in storage must still be found: the stage keys of every example are those of version 0.1.0.

A key that changes on purpose needs a higher `format` in the stage's declaration and a new recording, which says that
results are made again.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from groot_ray.embodiment import load_embodiment
from groot_ray.experiment.document import load_document
from groot_ray.experiment.plan import (
    ModelPin,
    SourcePin,
    convert_key,
    evaluate_key,
    finetune_key,
    model_request,
    source_request,
)

EXAMPLES = Path(__file__).resolve().parents[2] / "examples"
RECORDED = json.loads((Path(__file__).parent / "recorded_keys.json").read_text(encoding="utf-8"))


def test_every_example_is_recorded() -> None:
    assert sorted(RECORDED) == sorted(path.name for path in EXAMPLES.glob("*.yaml"))


@pytest.mark.parametrize("name", sorted(RECORDED))
def test_the_keys_of_an_example_stay_the_same(name: str) -> None:
    experiment = load_document(EXAMPLES / name).experiment
    robot = load_embodiment(experiment.embodiment, experiment.embodiment_tag).to_json()
    source = SourcePin(kind="files", uri="", content="c" * 64, version="v2.1", fps=50.0, parts={})
    model = ModelPin(base=experiment.model.base, content=None if experiment.model.base is None else "m" * 64)
    convert = convert_key(experiment, robot, source.key)
    finetune = finetune_key(experiment, model, convert, None)
    if (
        "://" not in experiment.source.uri and Path(experiment.source.uri).is_absolute()
    ):  # depends on the checkout's place
        experiment.source.uri = "/examples/" + Path(experiment.source.uri).name
    assert RECORDED[name] == {
        "source": source_request(experiment),
        "model": model_request(experiment),
        "download": source.key,
        "convert": convert,
        "finetune": finetune,
        "evaluate": evaluate_key(experiment, convert, finetune, {"100": "w" * 64}),
    }
