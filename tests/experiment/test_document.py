"""The experiment document: what is rejected, and how it is reported."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import build_document, load_document
from groot_ray.experiment.schema import TrainingOptions, result_options
from groot_ray.yaml_text import parse_yaml

EXAMPLES = sorted((Path(__file__).resolve().parents[2] / "examples").glob("*.yaml"))


def document(**changes: Any) -> Any:
    return build_document({"experiment": {"name": "x", "source": {"uri": "d"}, "embodiment": "aloha"}}, changes)


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_examples_are_valid(path: Path) -> None:
    assert load_document(path).experiment.name


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        (
            {"experiment.training.max_stepps": 1},
            "unknown key 'experiment.training.max_stepps' (did you mean 'max_steps'?)",
        ),
        ({"experment": {}}, "unknown key 'experment' (did you mean 'experiment'?)"),
        (
            {"experiment.training.num_workers": -1},
            "'experiment.training.num_workers': input should be greater than or equal to 0",
        ),
        ({"experiment.splits.test": -1}, "'experiment.splits.test'"),
        ({"experiment.name": "Not A Name"}, "'experiment.name'"),
        ({"experiment.conversion.resample": "nearest"}, "'index', 'linspace' or 'timestamp'"),
        ({"experiment.training.color_jitter_params": {"bright": 1.0}}, "'bright' is not a color jitter parameter"),
        (
            {"experiment.training.gradient_accumulation_steps": 65},
            "global_batch_size 64 is smaller than gradient_accumulation_steps 65",
        ),
    ],
)
def test_mistakes_are_reported_with_their_location(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(ConfigurationError) as told:
        document(**changes)
    assert sentence in str(told.value)
    assert "\n" not in str(told.value)


def test_what_is_missing_is_named() -> None:
    with pytest.raises(ConfigurationError, match="'experiment.source' is missing; 'experiment.embodiment' is missing"):
        build_document({"experiment": {"name": "x"}})


def test_yaml_numbers_and_duplicates() -> None:
    assert parse_yaml("a: 1e-4\nb: 2E5\nc: -3e+2", "t") == {"a": 1e-4, "b": 2e5, "c": -3e2}
    assert parse_yaml("a: yes\nb: on\nc: 012\nd: 1:30\ne: true", "t") == {
        "a": "yes", "b": "on", "c": 12, "d": "1:30", "e": True
    }  # fmt: skip
    with pytest.raises(ConfigurationError, match="t, line 2: key 'a' is given twice"):
        parse_yaml("a: 1\na: 2", "t")
    with pytest.raises(ConfigurationError, match="t, line 4: key 'c' is given twice; remove one of them"):
        parse_yaml("a: 1\nb:\n  c: 1\n  c: 2", "t")
    with pytest.raises(ConfigurationError, match=r"t, line 2: not valid YAML \(mapping values are not allowed here\)"):
        parse_yaml("a: 1\nb: c: d", "t")
    for text in ("", "- 1", "a: ["):
        with pytest.raises(ConfigurationError):
            parse_yaml(text, "t")


@pytest.mark.parametrize("text", ["2024-01-01", "1e5", "12e4567", "true", "7"])
def test_texts_that_yaml_takes_for_something_else(text: str) -> None:
    revision = f"experiment: {{name: a, source: {{uri: org/name, revision: {text}}}, embodiment: aloha_gr1}}"
    with pytest.raises(ConfigurationError, match=r"revision': .* \(given: .*\); put it in quotes"):
        build_document(parse_yaml(revision, "x.yaml"))


def test_paths_beside_the_file_are_resolved(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    file = tmp_path / "e.yaml"
    file.write_text("experiment: {name: x, source: {uri: d}, embodiment: aloha}")
    assert load_document(file).experiment.source.uri == str(tmp_path / "d")


def test_operational_options_are_no_result_options() -> None:
    kept = result_options(TrainingOptions())
    assert "learning_rate" in kept
    assert not {"num_workers", "save_steps", "logging_steps", "use_wandb", "dataloader_num_workers"} & set(kept)


def test_worker_ranges() -> None:
    assert document(**{"experiment.training.num_workers": [1, 3]}).experiment.training.workers == (1, 3)
    assert document(**{"experiment.training.num_workers": 2}).experiment.training.workers == (2, 2)


def test_the_reference_in_the_docs_is_the_schema() -> None:
    from groot_ray.experiment.reference import markdown

    file = Path(__file__).resolve().parents[2] / "docs" / "reference.md"
    assert file.read_text(encoding="utf-8").strip() == markdown().strip(), (
        "write it anew: groot-ray experiment reference > docs/reference.md"
    )
