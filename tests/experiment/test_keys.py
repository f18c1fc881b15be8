"""Keys are equal exactly where the result is: for every option of the document, operational or not."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ray.experiment.document import build_document
from groot_ray.experiment.keys import canonical, digest, stage_key
from groot_ray.experiment.plan import (
    ModelPin,
    convert_key,
    evaluate_key,
    finetune_key,
    listing_digest,
    model_request,
    source_request,
)
from groot_ray.experiment.schema import Experiment
from groot_ray.experiment.stages import CONVERT, FINETUNE

plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=8,
)


def experiment(**changes: Any) -> Experiment:
    data = {"experiment": {"name": "demo", "source": {"uri": "/data/robot"}, "embodiment": "aloha"}}
    return build_document(
        data, {f"experiment.{name.replace('__', '.')}": value for name, value in changes.items()}
    ).experiment


def keys(e: Experiment, robot: dict[str, Any] | None = None) -> tuple[str, ...]:
    convert = convert_key(e, robot or {"name": "aloha"}, "d1")
    finetune = finetune_key(e, ModelPin(base=e.model.base, content="m1"), convert, None)
    return source_request(e), model_request(e), convert, finetune, evaluate_key(e, convert, finetune, {"100": "w"})


@given(plain)
def test_the_order_of_a_mapping_does_not_matter(value: Any) -> None:
    def turned(item: Any) -> Any:
        if isinstance(item, dict):
            return {key: turned(item[key]) for key in reversed(list(item))}
        return [turned(inner) for inner in item] if isinstance(item, list) else item

    assert canonical(turned(value)) == canonical(value)


@given(plain, plain)
def test_different_values_have_different_digests(one: Any, other: Any) -> None:
    assert (digest(one) == digest(other)) == (canonical(one) == canonical(other))


def test_values_without_a_json_form_are_refused() -> None:
    with pytest.raises(ValueError):
        canonical({"lr": math.nan})


def test_a_key_is_made_of_stage_inputs_and_options() -> None:
    made = {stage_key(CONVERT, {"a": "1"}, {"b": 2}), stage_key(FINETUNE, {"a": "1"}, {"b": 2})}
    made |= {stage_key(CONVERT, {"a": "2"}, {"b": 2}), stage_key(CONVERT, {"a": "1"}, {"b": 3})}
    assert len(made) == 4 and all(len(key) == 16 for key in made)


def test_keys_last() -> None:
    """Results in storage are found by these names, so a change makes all stages run again."""
    assert stage_key(CONVERT, {"download": "d1"}, {"fps": 20.0}) == "9a5542c8ea9e6074"
    newer = replace(CONVERT, format=2)
    assert stage_key(newer, {"download": "d1"}, {"fps": 20.0}) != "9a5542c8ea9e6074"


@given(
    st.lists(st.tuples(st.text(max_size=5), st.integers(0, 9), st.text("0123456789abcdef", max_size=4)), max_size=5),
    st.randoms(),
)
def test_a_listing_has_no_order(files: list[tuple[str, int, str]], random: Any) -> None:
    shuffled = list(files)
    random.shuffle(shuffled)
    assert listing_digest(shuffled) == listing_digest(files)


OPERATIONAL = [
    ("storage__uri", "s3://elsewhere/x"),
    ("storage__endpoint", "http://minio:9000"),
    ("storage__cache", "/tmp/cache"),
    ("conversion__workers", 3),
    ("training__num_workers", [1, 2]),
    ("training__save_steps", 7),
    ("training__save_total_limit", 2),
    ("training__logging_steps", 1),
    ("training__use_wandb", True),
    ("training__dataloader_num_workers", 0),
    ("training__recovery_interval", 0),
    ("evaluation__batch_size", 1),
    ("evaluation__plots", False),
    ("name", "another"),
]

# What each option regenerates: source pin, model pin, convert, finetune, evaluate.
RESULTS = [
    ("source__uri", "/data/other", "s----"),
    ("source__episodes", [0], "s----"),
    ("splits__test", 2, "s-cfe"),
    ("splits__seed", 1, "s-cfe"),
    ("conversion__fps", 10, "--cfe"),
    ("conversion__codec", "mp4v", "--cfe"),
    ("model__base", "org/name", "-m---"),
    ("model__revision", "v2", "-m---"),
    ("model__tokenizer", "org/tokenizer", "---fe"),
    ("training__learning_rate", 2e-5, "---fe"),
    ("training__seed", 1, "---fe"),
    ("training__tune_llm", True, "---fe"),
    ("training__max_steps", 7, "-----"),
    ("embodiment_tag", "GR1", "---fe"),
    ("evaluation__steps", 5, "----e"),
    ("evaluation__checkpoints", [100], "----e"),
]


@pytest.mark.parametrize(("name", "value"), OPERATIONAL)
def test_operational_options_are_in_no_key(name: str, value: Any) -> None:
    assert keys(experiment(**{name: value})) == keys(experiment())


@pytest.mark.parametrize(("name", "value", "anew"), RESULTS)
def test_result_options_are_in_the_keys_that_depend_on_them(name: str, value: Any, anew: str) -> None:
    pairs = zip(keys(experiment(**{name: value})), keys(experiment()), "smcfe", strict=True)
    assert "".join(letter if new != old else "-" for new, old, letter in pairs) == anew


def test_a_robot_is_in_the_key_of_what_is_made_for_it() -> None:
    assert keys(experiment(), {"name": "other"})[2:] != keys(experiment())[2:]


def test_weights_and_base_models_are_in_keys() -> None:
    e = experiment()
    assert evaluate_key(e, "c", "f", {"100": "w1"}) != evaluate_key(e, "c", "f", {"100": "w2"})
    assert finetune_key(e, ModelPin(base="a", content="1"), "c", None) == finetune_key(
        e, ModelPin(base="b", content="1"), "c", None
    )
    assert finetune_key(e, ModelPin(base="a", content="1"), "c", None) != finetune_key(
        e, ModelPin(base="a", content="2"), "c", None
    )
    fresh = [experiment(model__base=None, model__size=size) for size in ("3b", "tiny")]
    assert len({finetune_key(f, ModelPin(base=None, content=None), "c", None) for f in fresh}) == 2
