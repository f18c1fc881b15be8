"""Plots of one trajectory: predicted against recorded actions for every dimension, and what the cameras saw.

Drawn with matplotlib's Agg canvas, without pyplot: no display is needed and no global state is touched.
"""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.evaluate.layout import ActionLayout

TRUTH, PREDICTION, STATE, DOT, UNREAL = "#1f6fb2", "#e07b00", "#8a8a8a", "#c40000", "#ececec"
PANEL_WIDTH, PANEL_HEIGHT, HEADER, FOOTER = 4.0, 1.95, 0.75, 0.95  # inches
DPI = 90


def plot_actions(
    title: str,
    layout: ActionLayout,
    prediction: np.ndarray,
    truth: np.ndarray,
    state: Mapping[str, np.ndarray],
    starts: Sequence[int],
    fps: float,
) -> bytes:
    """Draw one panel per action dimension, grouped by component.

    Args:
        title: headline of the figure.
        layout: names, units and reality of the D columns.
        prediction: float [n, D] and truth: float [n, D], in the units of the dataset.
        state: current state of the components whose state has the action's dimensions, each float [n, width]; drawn in gray.
        starts: frames at which the model predicted; marked with dots on the prediction.
        fps: frames per second, for the axis of time.

    Returns:
        The picture as PNG bytes. Dimensions that the robot does not have (padding, copies, constants) have a gray background.
    """
    from matplotlib.figure import Figure

    across = panels_across(layout.widths)
    rows = [math.ceil(width / across) for width in layout.widths]
    size = (PANEL_WIDTH * across, PANEL_HEIGHT * sum(rows) + HEADER + FOOTER)
    figure = Figure(figsize=size)
    # Margins by hand: matplotlib's layout engines need seconds for tens of panels.
    figure.subplots_adjust(
        left=0.62 / size[0],
        right=1 - 0.12 / size[0],
        top=1 - HEADER / size[1],
        bottom=FOOTER / size[1],
        wspace=0.25,
        hspace=0.5,
    )
    figure.text(0.5, 1 - 0.3 / size[1], title, ha="center", va="center", fontsize=13)
    figure.text(0.5, (FOOTER - 0.5) / size[1], "time (s)", ha="center", va="center", fontsize=9)
    times = [frame / fps for frame in range(len(truth))]
    top = 0
    for key, height in zip(layout.keys, rows, strict=True):
        for place, column in enumerate(layout.columns(key)):
            axes = figure.add_subplot(sum(rows), across, top * across + place + 1)
            known = state[key][:, place] if key in state else None
            _panel(axes, layout, column, times, prediction[:, column], truth[:, column], known, starts)
        top += height
    _legend(figure, size[1], with_state=bool(state), with_unreal=len(layout.real) < layout.dims)
    return _png(figure)


def panels_across(widths: Sequence[int]) -> int:
    """Number of panels side by side: two for a few dimensions, four for many, else what leaves less of the page empty."""
    if sum(widths) <= 4 or sum(widths) > 20:
        return 2 if sum(widths) <= 4 else 4
    return min((4, 3), key=lambda across: sum(math.ceil(width / across) for width in widths) * across)


def _legend(figure: Any, height: float, with_state: bool, with_unreal: bool) -> None:
    from matplotlib.lines import Line2D
    from matplotlib.patches import Patch

    handles: list[Any] = [
        Line2D([], [], color=TRUTH, label="recorded action"),
        Line2D([], [], color=PREDICTION, label="predicted action"),
        Line2D([], [], color=DOT, marker="o", linestyle="none", markersize=4, label="inference"),
    ]
    if with_state:
        handles.append(Line2D([], [], color=STATE, linestyle="--", label="state"))
    if with_unreal:
        handles.append(Patch(facecolor=UNREAL, edgecolor="0.7", label="padding, copy or constant"))
    figure.legend(
        handles=handles,
        loc="lower center",
        ncols=len(handles),
        frameon=False,
        fontsize=9,
        bbox_to_anchor=(0.5, 0.02 / height),
    )


def _panel(
    axes: Any,
    layout: ActionLayout,
    column: int,
    times: Sequence[float],
    prediction: np.ndarray,
    truth: np.ndarray,
    state: np.ndarray | None,
    starts: Sequence[int],
) -> None:
    """Draw one dimension."""
    real = column in layout.real
    if not real:
        axes.set_facecolor(UNREAL)
    if state is not None:
        axes.plot(times, state, color=STATE, linestyle="--", linewidth=1.0, zorder=1)
    axes.plot(times, truth, color=TRUTH, linewidth=1.6, zorder=2)
    axes.plot(times, prediction, color=PREDICTION, linewidth=1.2, zorder=3)
    axes.plot([times[s] for s in starts], [prediction[s] for s in starts], "o", color=DOT, markersize=2.8, zorder=4)
    unit = layout.units[column]
    axes.set_title(layout.names[column], fontsize=9, pad=3, color="black" if real else "0.45")
    axes.set_ylabel(unit, fontsize=8, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.01)
    axes.grid(True, linewidth=0.4, alpha=0.5)
    low, high = axes.get_ylim()
    if high - low < 1e-3:  # a constant: matplotlib would zoom into rounding noise
        axes.set_ylim(low - 0.05, high + 0.05)


def plot_cameras(title: str, pictures: Mapping[str, Sequence[np.ndarray]], frames: Sequence[int], fps: float) -> bytes:
    """Draw what each camera saw at some frames: one row per camera, one column per frame.

    Args:
        pictures: uint8 RGB [H, W, 3] of each camera key at each of `frames`.
        frames: frame numbers of the trajectory.
        fps: frames per second.

    Returns:
        The picture as PNG bytes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(frames), 2.4 * len(pictures) + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=12)
    grid = figure.subplots(len(pictures), len(frames), squeeze=False)
    for axes_row, (camera, seen) in zip(grid, pictures.items(), strict=True):
        for axes, frame, picture in zip(axes_row, frames, seen, strict=True):
            axes.imshow(picture)
            axes.set_xticks([])
            axes.set_yticks([])
            axes.set_title(f"frame {frame} ({frame / fps:.1f} s)", fontsize=8)
        axes_row[0].set_ylabel(camera, fontsize=9)
    return _png(figure)


def snapshot_frames(starts: Sequence[int], most: int = 6) -> list[int]:
    """Up to `most` of the frames of inference, evenly spread, with the first and the last."""
    if len(starts) <= most:
        return list(starts)
    return [starts[round(i * (len(starts) - 1) / (most - 1))] for i in range(most)]


def _png(figure: Any) -> bytes:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=DPI)
    return buffer.getvalue()
