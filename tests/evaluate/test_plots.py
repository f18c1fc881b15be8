"""Plots: one panel per dimension with its name and unit, and pictures of the right kind."""

from __future__ import annotations

import io

import numpy as np
import pytest
from PIL import Image

from groot_ray.evaluate.layout import ActionLayout
from groot_ray.evaluate.plots import panels_across, plot_actions, plot_cameras, snapshot_frames


def layout(widths: tuple[int, ...]) -> ActionLayout:
    keys = tuple(f"part{i}" for i in range(len(widths)))
    names = tuple(f"{key}.joint_{i}" for key, width in zip(keys, widths, strict=True) for i in range(width))
    dims = len(names)
    return ActionLayout(keys, widths, names, ("rad",) * dims, ("position",) * dims, tuple(range(dims - 1)))


def size(png: bytes) -> tuple[int, int]:
    picture = Image.open(io.BytesIO(png))
    assert picture.format == "PNG"
    return picture.size


@pytest.mark.parametrize("widths", [(1,), (7,), (2, 7, 7), (7, 6, 7, 6, 3), (7, 6, 6, 3, 7, 6, 6, 3)])
def test_every_dimension_has_a_panel_with_name_and_unit(
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
    assert [axes.get_title() for axes in panels] == list(plan.names)
    assert {axes.get_ylabel() for axes in panels} == {"rad"}
    for column, axes in enumerate(panels):
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


def test_panels_across() -> None:
    assert [panels_across(widths) for widths in ((1,), (7,), (3, 3), (22, 22))] == [2, 4, 3, 4]


def test_snapshots_of_all_cameras() -> None:
    frames = snapshot_frames(range(0, 200, 16))
    assert frames[0] == 0
    assert frames[-1] == 192
    assert len(frames) == 6
    assert snapshot_frames([0, 16]) == [0, 16]
    pictures = {key: [np.full((64, 64, 3), 9, np.uint8)] * 6 for key in ("cam_high", "cam_left_wrist")}
    width, height = size(plot_cameras("title", pictures, frames, 20.0))
    assert width > height > 300
