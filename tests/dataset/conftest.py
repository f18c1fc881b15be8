"""Small datasets that the tests of this folder share; a test that changes one copies it first."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest
from datasets import write_ball2, write_groot

from groot_ray.embodiment import load_embodiment


@pytest.fixture(scope="session")
def _ball2(tmp_path_factory) -> Path:
    return write_ball2(
        tmp_path_factory.mktemp("ball2") / "ball2_groot",
        [20, 24],
        size=(96, 128),
        codec="h264",
        tasks=("hand over", "put down"),
    )


@pytest.fixture
def ball2(_ball2, tmp_path) -> Path:
    """Two episodes of 20 and 24 frames as the Trossen AI Mobile records them; the test may change them."""
    return Path(shutil.copytree(_ball2, tmp_path / "ball2_groot"))


@pytest.fixture(scope="session")
def _groot(tmp_path_factory) -> Path:
    return write_groot(tmp_path_factory.mktemp("groot") / "train", load_embodiment("aloha_gr1_full"))


@pytest.fixture
def groot(_groot, tmp_path) -> Path:
    """Three episodes of 30, 24 and 40 frames in GR00T's layout; the test may change them."""
    return Path(shutil.copytree(_groot, tmp_path / "train"))


@pytest.fixture
def edit_json():
    """Change a JSON file in place: ``edit_json(path, function)``."""

    def edit(path: Path, change) -> None:
        content = json.loads(path.read_text())
        change(content)
        path.write_text(json.dumps(content))

    return edit


@pytest.fixture
def edit_parquet():
    """Change the columns of a parquet file in place: ``edit_parquet(path, function)`` with a dictionary of lists."""

    def edit(path: Path, change) -> None:
        import pyarrow as pa
        import pyarrow.parquet as pq

        table = pq.read_table(path)
        columns = table.to_pydict()
        change(columns)
        kept = {
            name: pa.array(values, type=table.schema.field(name).type if name in table.column_names else None)
            for name, values in columns.items()
        }
        pq.write_table(pa.table(kept), path)

    return edit
