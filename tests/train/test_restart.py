"""Lost workers are restarted as long as the run makes progress."""

from __future__ import annotations

import pytest

from groot_ray.train.ray.restart import count_failures, may_restart


@pytest.mark.parametrize(
    ("reached", "starts"),
    [
        ([0, 0, 0], 3),  # never a checkpoint
        ([5, 5, 5], 3),  # one before the first failure, none after it
        ([5, 9, 9, 12, 12, 12], 6),
        ([1, 2, 3, 4, 5, 6], None),  # progress each time
    ],
)
def test_three_failures_in_a_row_without_a_new_checkpoint_end_a_run(reached: list[int], starts: int | None) -> None:
    failures, before = 0, 0
    for number, step in enumerate(reached, 1):
        failures, before = count_failures(failures, before, step), step
        if not may_restart(failures):
            assert number == starts
            return
    assert starts is None
