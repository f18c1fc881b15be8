"""The reference of the experiment file: types as people write them, and the defaults that hold."""

from __future__ import annotations

from typing import Annotated, Any, Literal, Optional, Union

import pytest
from pydantic import Field

from groot_ray.experiment.cluster import ClusterOptions
from groot_ray.experiment.reference import markdown, type_name

Name = Annotated[str, Field(pattern=r"^[a-z]([-a-z0-9]{0,12}[a-z0-9])?$")]


@pytest.mark.parametrize(
    ("annotation", "text"),
    [
        (str, "str"),
        (int | None, "int | None"),
        (Optional[Name], "str | None"),
        (list[Name], "list[str]"),
        (dict[Name, Name], "dict[str, str]"),
        (list[dict[str, Any]] | None, "list[dict[str, Any]] | None"),
        (Literal["h264", "mp4v"], "'h264' | 'mp4v'"),
        (Union[Annotated[int, Field(ge=0)], Literal["training"]], "int | 'training'"),
        (tuple[Annotated[int, Field(ge=1)], int], "tuple[int, int]"),
    ],
)
def test_types_are_plain(annotation: Any, text: str) -> None:
    assert type_name(annotation) == text


def section(place: str) -> dict[str, list[str]]:
    """The rows of a section by key, as cells."""
    text = markdown().split(f"## `{place}`\n")[1].split("\n## ")[0].replace("\\|", "¦")
    rows = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| `")]
    return {row[0].strip("`°"): row for row in rows}


def test_each_group_of_pods_shows_its_own_defaults() -> None:
    ray = ClusterOptions().ray
    for group in ("head", "cpu", "gpu"):
        rows = section(f"cluster.ray.{group}")
        for key in ("cpus", "memory", "gpus", "tolerations"):
            assert rows[key][2] == f"`{getattr(getattr(ray, group), key)!r}`", (group, key)
    assert section("cluster.ray.gpu.cache")["size"][2] == "`'200Gi'`"
    assert section("cluster")["queue"][1] == "str ¦ None"
