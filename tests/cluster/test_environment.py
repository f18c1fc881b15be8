"""Variables of a Ray job arrive unchanged, through Ray's own expansion."""

from __future__ import annotations

import json
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st
from ray._private.utils import update_envs

from groot_ray.cluster.ray.document import document_from_environment, document_variable
from groot_ray.cluster.ray.jobs import NEVER_SET, literal
from groot_ray.experiment.document import build_document


def arrives(value: str) -> str:
    """What a process of a Ray job sees of a variable."""
    try:
        update_envs({"GROOT_RAY_TEST": value})
        return os.environ["GROOT_RAY_TEST"]
    finally:
        os.environ.pop("GROOT_RAY_TEST", None)


HOSTILE = ["$", "$$", "$HOME", "${HOME}", "${ABC}", "$${ABC}", "a$b${", "${}", "{$ABC}", "x$" + NEVER_SET, "pa$$word"]


@pytest.mark.parametrize("value", HOSTILE)
def test_values_arrive_unchanged(value: str) -> None:
    assert arrives(literal(value)) == value


@given(st.text(alphabet=st.sampled_from('$ {}_AHOMEa0\\"\n'), max_size=30))
def test_any_value_arrives_unchanged(value: str) -> None:
    assert arrives(literal(value)) == value


def test_ray_changes_unescaped_values() -> None:
    assert arrives("s3://b/${ABC}/$HOME/r") == f"s3://b//{os.environ['HOME']}/r"


def test_job_and_driver_read_the_same_document(monkeypatch: pytest.MonkeyPatch) -> None:
    document = build_document(
        {
            "experiment": {
                "name": "walk",
                "storage": {"uri": "s3://b/${ABC}/$HOME/r"},
                "source": {"uri": r"s3://b/back\slash$${HOME}"},
                "embodiment": "aloha_gr1",
            }
        }
    )
    text = document_variable(document.model_dump_json(by_alias=True))
    assert json.loads(text) == document.model_dump(mode="json", by_alias=True)
    monkeypatch.setenv("GROOT_RAY_DOCUMENT", arrives(text))
    assert document_from_environment() == document, "also where Ray's expansion is not known"
    monkeypatch.setenv("GROOT_RAY_DOCUMENT", arrives(literal(text)))
    assert document_from_environment() == document
