"""Bounds of options, limits of documents, and the length of an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, get_args, get_origin

import annotated_types as at
import pytest
from pydantic import BaseModel

from groot_ray.embodiment import load_embodiment
from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import LONGEST_MESSAGE, ConfigurationError, DataError
from groot_ray.experiment.document import Document, build_document, load_document
from groot_ray.json_file import read_json
from groot_ray.storage import open_location
from groot_ray.yaml_text import parse_yaml

HEAD = "experiment: {name: x, source: {uri: d}, embodiment: aloha}\n"
INF, NAN = float("inf"), float("nan")


def refusal(place: str, value: Any) -> str:
    data = {"experiment": {"name": "x", "source": {"uri": "d"}, "embodiment": "aloha"}}
    with pytest.raises(ConfigurationError) as refused:
        build_document(data, {place: value})
    return str(refused.value)


@pytest.mark.parametrize(
    ("option", "value"),
    [
        *[("learning_rate", value) for value in (INF, NAN, 1e300, True, -1)],
        *[("global_batch_size", value) for value in (10**9, True, 0, 1.5)],
        *[("max_steps", value) for value in (2**63, True, 0, NAN)],
        *[("num_workers", value) for value in ([3, 1], True, [True, 2], 10**9)],
        *[("keep_steps", value) for value in ([-1], [True], [2**63])],
        *[("random_rotation_angle", value) for value in (1e9, -1, INF)],
        *[("color_jitter_params", value) for value in ({"hue": 0.6}, {"contrast": -1}, {"hue": NAN}, {"hue": True})],
        *[("extra_augmentation_config", value) for value in ({"p": INF}, {"p": {1: 2}}, {"p": {"a": b"x"}})],
        *[("use_wandb", value) for value in (1, 0, 0.0)],
        *[("seed", value) for value in (2**70, True)],
        *[("warmup_ratio", value) for value in (1.0, NAN, True)],
        *[("frame_cache_gb", value) for value in (1e300, INF, -1)],
        *[("dataloader_num_workers", value) for value in (10**6, True)],
        *[("recovery_interval", value) for value in (INF, -1)],
    ],
)
def test_training_options_have_bounds(option: str, value: Any) -> None:
    assert f"'experiment.training.{option}" in refusal(f"experiment.training.{option}", value)


@pytest.mark.parametrize(
    ("place", "value"),
    [
        ("experiment.conversion.fps", 1e300),
        ("experiment.conversion.resolution", 10**6),
        ("experiment.conversion.skip_bad", 1),
        ("experiment.splits.seed", -1),
        ("experiment.source.episodes", [-1]),
        ("experiment.source.episodes", []),
        ("experiment.evaluation.traj_ids", []),
        ("experiment.evaluation.checkpoints", []),
        ("experiment.evaluation.seed", -1),
        ("experiment.evaluation.thresholds", []),
        ("experiment.evaluation.thresholds", [NAN]),
        ("experiment.evaluation.steps", True),
        ("experiment.evaluation.checkpoints", [0]),
        ("cluster.ray.gpu.cpus", 10**9),
        ("cluster.ray.gpu.gpus", True),
        ("cluster.ray.gpu.memory", "9" * 30),
        ("cluster.ray.idle_timeout", 10**18),
        ("cluster.jobs.retries", True),
        ("cluster.jobs.keep", 1),
        ("cluster.jobs.poll", 10**9),
        ("cluster.security.network.storage_ports", [99999]),
        ("cluster.stages", {"finetune": {"gpu": 10**9}}),
        ("cluster.stages", {"finetune": {"deadline": True}}),
    ],
)
def test_other_options_have_bounds(place: str, value: Any) -> None:
    assert f"'{place}" in refusal(place, value)


@pytest.mark.parametrize("value", [True, 10**9, -1, INF])
def test_embodiments_have_bounds(value: Any) -> None:
    robot = load_embodiment("aloha").to_json()
    with pytest.raises(ConfigurationError, match="'action_horizon'"):
        load_embodiment({**robot, "action_horizon": value})
    with pytest.raises(ConfigurationError, match=r"'state.0.start'"):
        load_embodiment({**robot, "state": [{**robot["state"][0], "start": value}]})


def test_quoted_numbers_and_words_for_booleans_stay_allowed() -> None:
    data = {"experiment": {"name": "x", "source": {"uri": "d"}, "embodiment": "aloha"}}
    given = {"experiment.training.learning_rate": "1e-4", "experiment.training.use_wandb": "yes"}
    training = build_document(data, given).experiment.training
    assert training.learning_rate == 1e-4 and training.use_wandb is True


def numbers_without_bounds(model: type[BaseModel], place: str = "") -> list[str]:
    """Numeric fields of a model, and of the models in it, that have no largest value."""
    found = []
    for name, info in model.model_fields.items():
        for branch in branches(info.annotation, list(info.metadata)):
            kind, rules = branch
            if isinstance(kind, type) and issubclass(kind, BaseModel):
                found += numbers_without_bounds(kind, f"{place}{name}.")
            elif kind in (int, float) and not any(isinstance(rule, at.Le | at.Lt) for rule in rules):
                found.append(f"{place}{name}")
    return found


def branches(annotation: Any, rules: list[Any]) -> list[tuple[Any, list[Any]]]:
    """The types in an annotation, each with its rules."""
    inner = get_args(annotation)
    if hasattr(annotation, "__metadata__"):
        more = [part for rule in annotation.__metadata__ for part in (getattr(rule, "metadata", None) or [rule])]
        return branches(inner[0], [*rules, *more])
    if get_origin(annotation) is None or not any(map(has_type, inner)):
        return [(annotation, rules)]
    return [leaf for branch in inner for leaf in branches(branch, rules)]


def has_type(inner: Any) -> bool:
    return isinstance(inner, type) or get_origin(inner) is not None or hasattr(inner, "__metadata__")


def test_every_number_of_the_schema_has_a_largest_value() -> None:
    assert numbers_without_bounds(Document) == [] and numbers_without_bounds(Embodiment) == []

    class Loose(BaseModel):
        steps: int | None = None

    assert numbers_without_bounds(Loose) == ["steps"], "the test finds one"


def lists_of_lists(depth: int) -> str:
    lines = ["a0: &a0 [x]", *(f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 9)}]" for i in range(1, depth))]
    return "\n".join(lines)


def merges_of_merges(depth: int) -> str:
    lines = ["a0: &a0 {x: 1}", *(f"a{i}: &a{i} {{<<: [{', '.join([f'*a{i - 1}'] * 9)}]}}" for i in range(1, depth))]
    return "\n".join(lines)


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        (HEAD + "global: " + "[" * 5000 + "]" * 5000, "nested more than 60 levels deep"),
        (HEAD + "global: " + "{a: " * 5000 + "1" + "}" * 5000, "nested more than 60 levels deep"),
        (HEAD + "\n".join(f"k{i}: 1" for i in range(25000)), "more than 20,000 keys"),
        (HEAD + lists_of_lists(9), "more than 300,000 values once its aliases are replaced"),
        (HEAD + merges_of_merges(9), "more than 300,000 values once its aliases are replaced"),
        (HEAD + "global: &a {b: *a}", "an alias stands for something that contains it"),
        ("#" * 2_000_001, "2,000,001 bytes, more than the 2,000,000"),
        (HEAD + f"rerun: {'9' * 6000}", "6000 digits"),
        (HEAD + f"rerun: {'x' * 10_001}", "a text of 10,001 characters"),
        (HEAD + 'rerun: "a\\0b"', "NUL"),
        (HEAD + 'rerun: "a\\ud800b"', "half a character"),
        (HEAD + "global: {a: 2024-99-99}", "month must be in 1..12"),
        (HEAD + "? {a: 1}\n: 1", "unhashable"),
    ],
)
def test_documents_have_limits(tmp_path: Path, text: str, sentence: str) -> None:
    (tmp_path / "e.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(ConfigurationError) as refused:
        load_document(tmp_path / "e.yaml")
    assert sentence in str(refused.value) and "\n" not in str(refused.value)


def test_many_mistakes_are_counted_and_long_values_cut() -> None:
    many = HEAD + "\n".join(f"key_{i}: 1" for i in range(5000))
    with pytest.raises(ConfigurationError) as refused:
        build_document(parse_yaml(many, "e.yaml"))
    assert str(refused.value).endswith("unknown key 'key_9'; and 4,990 more")
    assert len(refusal("experiment.training.max_steps", int("9" * 4000))) < 300
    assert len(refusal("experiment.model.size", "x" * 9999)) < LONGEST_MESSAGE


def test_aliases_within_the_limits_are_read() -> None:
    text = "experiment: &e {name: x}\nglobal: {first: &x {a: 1}, second: {<<: *x, b: 2}}"
    assert parse_yaml(text, "t")["global"]["second"] == {"a": 1, "b": 2}


def test_an_error_has_at_most_2_kb() -> None:
    for text in ("é" * 100_000, "x" * 1_300_000, "a\ud800" * 2000):
        said = str(DataError(f"start {text} end"))
        assert len(said.encode("utf-8", "backslashreplace")) <= LONGEST_MESSAGE
        assert said.startswith("start ") and said.endswith(" end") and "more characters" in said
    assert str(DataError("short")) == "short"


@pytest.mark.parametrize(("text", "problem"), [("[" * 100_000, "nested too deeply"), ("9" * 5000, "5000 digits")])
def test_json_that_python_cannot_read_is_one_sentence(tmp_path: Path, text: str, problem: str) -> None:
    file = tmp_path / "info.json"
    file.write_text(text)
    with pytest.raises(DataError, match=problem):
        read_json(file)
    with pytest.raises(DataError, match=problem):
        open_location(file).read_json()


def test_a_hundred_thousand_episodes_are_read() -> None:
    data = {"name": "x", "source": {"uri": "d", "episodes": list(range(100_000))}, "embodiment": "aloha"}
    assert len(build_document(json.loads(json.dumps({"experiment": data}))).experiment.source.episodes or []) == 100_000
