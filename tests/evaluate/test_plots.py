"""Plots: one panel per dimension with its name and unit, and figures of the right kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from groot_ray.evaluate.layout import ActionLayout
from groot_ray.evaluate.plots import (
    drawn_columns,
    left_out,
    panels_across,
    plot_actions,
    plot_cameras,
    snapshot_frames,
)


def layout(widths: tuple[int, ...]) -> ActionLayout:
    keys = tuple(f"part{i}" for i in range(len(widths)))
    names = tuple(f"{key}.joint_{i}" for key, width in zip(keys, widths, strict=True) for i in range(width))
    dims = len(names)
    return ActionLayout(keys, widths, names, ("rad",) * dims, ("position",) * dims, tuple(range(dims - 1)))


def size(png: bytes) -> tuple[int, int]:
    image = Image.open(io.BytesIO(png))
    assert image.format == "PNG"
    return image.size


@pytest.mark.parametrize("widths", [(1,), (7,), (2, 7, 7), (7, 6, 7, 6, 3), (7, 6, 6, 3, 7, 6, 6, 3)])
def test_every_dimension_of_the_robot_has_a_panel_with_name_and_unit(
    widths: tuple[int, ...], monkeypatch: pytest.MonkeyPatch
) -> None:
    from matplotlib.figure import Figure

    drawn: list[Figure] = []
    save = Figure.savefig
    monkeypatch.setattr(
        Figure, "savefig", lambda figure, *args, **kwargs: (drawn.append(figure), save(figure, *args, **kwargs))[1]
    )
    plan = layout(widths)
    rng = np.random.default_rng(0)
    truth = rng.normal(size=(20, plan.dims))
    state = {plan.keys[0]: truth[:, : widths[0]]}
    png = plot_actions("title", plan, truth + 0.1, truth, state, [0, 8, 16], 20.0)
    panels = drawn[0].axes
    own = plan.real or (0,)  # all are drawn where the robot has none
    assert [axes.get_title() for axes in panels] == [plan.names[column] for column in own]
    assert {axes.get_ylabel() for axes in panels} == {"rad"}
    for column, axes in zip(own, panels, strict=True):
        lines = {line.get_color(): line for line in axes.get_lines()}
        assert ("#8a8a8a" in lines) == (column < widths[0])  # the state only where it has the action's dimensions
        np.testing.assert_allclose(lines["#1f6fb2"].get_ydata(), truth[:, column])
        np.testing.assert_allclose(lines["#e07b00"].get_ydata(), truth[:, column] + 0.1)
        np.testing.assert_allclose(lines["#c40000"].get_xdata(), [0.0, 0.4, 0.8])
    boxes = [axes.get_position() for axes in panels]
    assert not any(a.overlaps(b) for i, a in enumerate(boxes) for b in boxes[:i])
    width, height = size(png)
    assert width <= 1500
    assert height <= 3200


def test_what_is_not_drawn_is_one_line_of_text() -> None:
    plan = layout((3, 2))  # the last is padding
    truth = np.zeros((10, 5))
    truth[:, 0] = np.arange(10)
    prediction = truth.copy()
    prediction[4, 1] = 0.5
    assert drawn_columns(plan, prediction, truth) == [0, 1]
    assert left_out(plan, [0, 1]) == (
        "dimensions not drawn: 1 of padding, copies or zeros (part1 1); "
        "2 constant and predicted exactly (part0.joint_2, part1.joint_0)"
    )
    assert drawn_columns(plan, np.zeros((10, 5)), np.zeros((10, 5))) == [0, 1, 2, 3], "never an empty figure"
    assert left_out(plan, range(5)) == ""


def test_panels_across() -> None:
    assert [panels_across(count) for count in (1, 7, 6, 44)] == [2, 4, 3, 4]


def test_snapshots_of_all_cameras() -> None:
    frames = snapshot_frames(range(0, 200, 16))
    assert frames[0] == 0
    assert frames[-1] == 192
    assert len(frames) == 6
    assert snapshot_frames([0, 16]) == [0, 16]
    images = {key: [np.full((64, 64, 3), 9, np.uint8)] * 6 for key in ("cam_high", "cam_left_wrist")}
    width, height = size(plot_cameras("title", images, frames, 20.0))
    assert width > height > 300
