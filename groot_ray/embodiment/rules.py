"""What must hold between the parts of a description, beyond each part's own types."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from groot_ray.embodiment.schema import MAX_DIMS, ActionComponent, Component
from groot_ray.errors import did_you_mean

if TYPE_CHECKING:
    from groot_ray.embodiment.schema import Embodiment


def check_embodiment(embodiment: Embodiment) -> None:
    """Check keys, overlaps, widths and references between state and action.

    Raises:
        ValueError: a sentence that names the component.
    """
    _check_unique([c.key for c in embodiment.cameras], "camera key")
    _check_unique([c.feature for c in embodiment.cameras], "camera feature")
    _check_unique([c.key for c in embodiment.state], "state component")
    _check_unique([c.key for c in embodiment.action], "action component")
    _check_overlaps(embodiment.state, "state")
    _check_overlaps(embodiment.action, "action")
    _check_trained_dims(embodiment)
    for action in embodiment.action:
        _check_reference(embodiment, action)


def _check_unique(keys: Sequence[str], what: str) -> None:
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise ValueError(f"{what} {key!r} is given twice")


def _check_overlaps(components: Sequence[Component], part: str) -> None:
    """A source dimension belongs to one component: else the way back to the robot would be ambiguous."""
    placed = [c for c in components if c.width]
    for position, one in enumerate(placed):
        for other in placed[:position]:
            assert one.start is not None and one.end is not None and other.start is not None and other.end is not None
            if one.column == other.column and one.start < other.end and other.start < one.end:
                raise ValueError(
                    f"{part} components {other.key!r} [{other.start}:{other.end}] and {one.key!r} [{one.start}:{one.end}] "
                    f"overlap in column {one.column!r}"
                )


def _check_trained_dims(embodiment: Embodiment) -> None:
    """The model's inputs have a fixed width; sine and cosine take two places for each angle."""
    state = sum(c.dims * (2 if c.normalization == "sin_cos" else 1) for c in embodiment.state if c.train)
    action = sum(c.dims for c in embodiment.action if c.train)
    for part, dims in (("state", state), ("action", action)):
        if dims == 0:
            raise ValueError(f"no {part} component is trained; at least one needs train: true")
        if dims > MAX_DIMS:
            raise ValueError(f"the trained {part} has {dims} dimensions, more than the model's {MAX_DIMS}")


def _check_reference(embodiment: Embodiment, action: ActionComponent) -> None:
    """A RELATIVE action needs a trained state component of its own converted width and kind."""
    if action.representation != "RELATIVE" and action.state_key is None:
        return
    wanted = action.state_key or action.key
    states = {c.key: c for c in embodiment.state}
    if wanted not in states:
        if action.state_key is not None:
            raise ValueError(
                f"action {action.key!r} refers to state_key {wanted!r}, which is no state component{did_you_mean(wanted, states)}"
            )
        raise ValueError(
            f"action {action.key!r} is RELATIVE but there is no state component {wanted!r}{did_you_mean(wanted, states)}; "
            "name one with state_key, or say ABSOLUTE"
        )
    if action.representation != "RELATIVE" or not action.train:
        return
    state = states[wanted]
    if not state.train:
        raise ValueError(
            f"action {action.key!r} is RELATIVE to state {wanted!r}, which is not trained; say train: true there"
        )
    if state.dims != action.dims:
        raise ValueError(
            f"action {action.key!r} has {action.dims} dims but the state {wanted!r} that it is RELATIVE to has {state.dims}"
        )
    if state.kind != action.kind:
        raise ValueError(
            f"action {action.key!r} is a {action.kind} but the state {wanted!r} that it is RELATIVE to is a {state.kind}"
        )
