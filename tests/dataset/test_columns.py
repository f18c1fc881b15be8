"""Rows of one episode in a file of many, whatever its row groups are."""

from __future__ import annotations

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from groot_ray.dataset.columns import read_columns
from groot_ray.storage import open_location


@pytest.mark.parametrize("group", [1, 4, 7, 100])
@pytest.mark.parametrize("rows", [(0, 5), (3, 11), (7, 8), (12, 20), (15, 40), (5, 5)])
def test_only_the_rows_that_are_asked_for(tmp_path, group, rows):
    table = pa.table({"number": pa.array(range(20)), "pair": pa.array([[i, -i] for i in range(20)])})
    pq.write_table(table, tmp_path / "many.parquet", row_group_size=group)
    location = open_location(tmp_path / "many.parquet")
    found = read_columns(location, ["number", "pair"], "episode 1", {"pair": 2}, rows=rows)
    expected = list(range(20))[rows[0] : rows[1]]
    assert found["number"].tolist() == expected
    np.testing.assert_array_equal(found["pair"], np.array([[i, -i] for i in expected]).reshape(-1, 2))
