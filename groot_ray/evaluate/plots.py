"""Plots of one trajectory: predicted and recorded actions of the robot's own dimensions, and what the cameras saw.

Drawn with matplotlib's Agg canvas, without pyplot: no display is needed and no global state is touched.
"""

from __future__ import annotations

import io
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import numpy as np

    from groot_ray.evaluate.layout import ActionLayout

TRUTH, PREDICTION, STATE, DOT, NOTE = "#1f6fb2", "#e07b00", "#8a8a8a", "#c40000", "#6b6b6b"
PANEL_WIDTH, PANEL_HEIGHT, HEADER, FOOTER = 4.0, 1.95, 0.95, 0.95  # inches
DPI = 90
NAMED = 6  # constant dimensions named in the note; the others are only counted


def plot_actions(
    title: str,
    layout: ActionLayout,
    prediction: np.ndarray,
    truth: np.ndarray,
    state: Mapping[str, np.ndarray],
    starts: Sequence[int],
    fps: float,
) -> bytes:
    """Draw one panel per action dimension that the robot has; a line of text names the omitted ones.

    Args:
        title: headline of the figure.
        layout: names and units of the D dimensions, and which of them the robot has.
        prediction: float [n, D], in the units of the dataset.
        truth: float [n, D], the recorded actions.
        state: current state of the components whose state has the action's width, float [n, width] each; drawn in gray.
        starts: frames at which the model predicted; marked with dots on the prediction.
        fps: frames per second, for the time axis.

    Returns:
        The figure as PNG bytes.
    """
    from matplotlib.figure import Figure

    drawn = drawn_columns(layout, prediction, truth)
    across = panels_across(len(drawn))
    rows = math.ceil(len(drawn) / across)
    size = (PANEL_WIDTH * across, PANEL_HEIGHT * rows + HEADER + FOOTER)
    figure = Figure(figsize=size)
    # Explicit margins: matplotlib's layout engines need seconds for tens of panels.
    figure.subplots_adjust(
        left=0.62 / size[0],
        right=1 - 0.12 / size[0],
        top=1 - HEADER / size[1],
        bottom=FOOTER / size[1],
        wspace=0.25,
        hspace=0.5,
    )
    figure.text(0.5, 1 - 0.3 / size[1], title, ha="center", va="center", fontsize=13)
    note = left_out(layout, drawn)
    figure.text(0.5, 1 - 0.56 / size[1], note, ha="center", va="center", fontsize=8, color=NOTE)
    figure.text(0.5, (FOOTER - 0.5) / size[1], "time (s)", ha="center", va="center", fontsize=9)
    times = [frame / fps for frame in range(len(truth))]
    for place, column in enumerate(drawn):
        axes = figure.add_subplot(rows, across, place + 1)
        known = _state_of(layout, column, state)
        _panel(axes, layout, column, times, prediction[:, column], truth[:, column], known, starts)
    _legend(figure, size[1], with_state=bool(state))
    return _png(figure)


def drawn_columns(layout: ActionLayout, prediction: np.ndarray, truth: np.ndarray) -> list[int]:
    """The dimensions to draw: the robot's own, without those that are constant and predicted exactly.

    If none remain, all of the robot's own are drawn, or all dimensions if it has none.

    Args:
        prediction, truth: float [n, D].
    """
    own = list(layout.real) or list(range(layout.dims))
    constant = {c for c in own if (truth[:, c] == truth[0, c]).all() and (prediction[:, c] == truth[:, c]).all()}
    return [column for column in own if column not in constant] or own


def left_out(layout: ActionLayout, drawn: Sequence[int]) -> str:
    """A sentence about the dimensions that are not drawn; empty where all are."""
    filler = [c for c in range(layout.dims) if c not in layout.real and c not in drawn]
    constant = [layout.names[c] for c in layout.real if c not in drawn]
    parts = []
    if filler:
        counts = Counter(layout.component(c) for c in filler)
        parts.append(f"{len(filler)} of padding, copies or zeros ({', '.join(f'{k} {n}' for k, n in counts.items())})")
    if constant:
        more = f" and {len(constant) - NAMED} more" if len(constant) > NAMED else ""
        parts.append(f"{len(constant)} constant and predicted exactly ({', '.join(constant[:NAMED])}{more})")
    return f"dimensions not drawn: {'; '.join(parts)}" if parts else ""


def panels_across(count: int) -> int:
    """Number of panels side by side: two for up to 4, four for over 20, else whichever leaves fewer cells empty."""
    if count <= 4 or count > 20:
        return 2 if count <= 4 else 4
    return min((4, 3), key=lambda across: math.ceil(count / across) * across)


def _state_of(layout: ActionLayout, column: int, state: Mapping[str, np.ndarray]) -> np.ndarray | None:
    """The state that belongs to an action dimension, [n], where its component's state is known."""
    key = layout.component(column)
    return state[key][:, column - layout.columns(key)[0]] if key in state else None


def _legend(figure: Any, height: float, with_state: bool) -> None:
    from matplotlib.lines import Line2D

    handles: list[Any] = [
        Line2D([], [], color=TRUTH, label="recorded action"),
        Line2D([], [], color=PREDICTION, label="predicted action"),
        Line2D([], [], color=DOT, marker="o", linestyle="none", markersize=4, label="inference"),
    ]
    if with_state:
        handles.append(Line2D([], [], color=STATE, linestyle="--", label="state"))
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
    if state is not None:
        axes.plot(times, state, color=STATE, linestyle="--", linewidth=1.0, zorder=1)
    axes.plot(times, truth, color=TRUTH, linewidth=1.6, zorder=2)
    axes.plot(times, prediction, color=PREDICTION, linewidth=1.2, zorder=3)
    axes.plot([times[s] for s in starts], [prediction[s] for s in starts], "o", color=DOT, markersize=2.8, zorder=4)
    axes.set_title(layout.names[column], fontsize=9, pad=3)
    axes.set_ylabel(layout.units[column], fontsize=8, labelpad=1)
    axes.tick_params(labelsize=7)
    axes.margins(x=0.01)
    axes.grid(True, linewidth=0.4, alpha=0.5)
    low, high = axes.get_ylim()
    if high - low < 1e-3:  # a constant: matplotlib would zoom into rounding noise
        axes.set_ylim(low - 0.05, high + 0.05)


def plot_cameras(title: str, images: Mapping[str, Sequence[np.ndarray]], frames: Sequence[int], fps: float) -> bytes:
    """Draw what each camera saw at some frames: one row per camera, one column per frame.

    Args:
        images: uint8 RGB [H, W, 3] of each camera key at each of `frames`.
        frames: frame numbers of the trajectory.
        fps: frames per second.

    Returns:
        The figure as PNG bytes.
    """
    from matplotlib.figure import Figure

    figure = Figure(figsize=(2.2 * len(frames), 2.4 * len(images) + 0.6), layout="constrained")
    figure.suptitle(title, fontsize=12)
    grid = figure.subplots(len(images), len(frames), squeeze=False)
    for axes_row, (camera, seen) in zip(grid, images.items(), strict=True):
        for axes, frame, image in zip(axes_row, frames, seen, strict=True):
            axes.imshow(image)
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
