"""Rules between the parts of a description, beyond each part's own types."""

from __future__ import annotations

from collections.abc import Sequence

from groot_ray.embodiment.components import ActionComponent, Camera, Component, StateComponent
from groot_ray.errors import did_you_mean


def check_parts(cameras: Sequence[Camera], state: Sequence[StateComponent], action: Sequence[ActionComponent]) -> None:
    """Check that keys are unique, source slices do not overlap, and relative actions have their state.

    Raises:
        ValueError: a rule is broken; the message names the component.
    """
    _check_unique([c.key for c in cameras], "camera key")
    _check_unique([c.feature for c in cameras], "camera feature")
    _check_unique([c.key for c in state], "state component")
    _check_unique([c.key for c in action], "action component")
    _check_overlaps(state, "state")
    _check_overlaps(action, "action")
    _check_trained(state, "state")
    _check_trained(action, "action")
    for component in action:
        _check_reference(state, component)


def _check_unique(keys: Sequence[str], what: str) -> None:
    for position, key in enumerate(keys):
        if key in keys[:position]:
            raise ValueError(f"{what} {key!r} is given twice")


def _check_overlaps(components: Sequence[Component], part: str) -> None:
    """Check that each source dimension belongs to one component, so that the inverse mapping is unambiguous."""
    placed = [c for c in components if c.width]
    for position, one in enumerate(placed):
        for other in placed[:position]:
            assert one.start is not None and one.end is not None and other.start is not None and other.end is not None
            if one.column == other.column and one.start < other.end and other.start < one.end:
                raise ValueError(
                    f"{part} components {other.key!r} [{other.start}:{other.end}] and {one.key!r} "
                    f"[{one.start}:{one.end}] overlap in column {one.column!r}"
                )


def _check_trained(components: Sequence[Component], part: str) -> None:
    if not any(c.train for c in components):
        raise ValueError(f"no {part} component is trained; at least one needs train: true")


def _check_reference(components: Sequence[StateComponent], action: ActionComponent) -> None:
    """Check that a RELATIVE action has a trained state component of equal converted width and kind."""
    if action.representation != "RELATIVE" and action.state_key is None:
        return
    wanted = action.state_key or action.key
    states = {c.key: c for c in components}
    if wanted not in states:
        if action.state_key is not None:
            raise ValueError(
                f"action {action.key!r} refers to state_key {wanted!r}, which is not a state component"
                f"{did_you_mean(wanted, states)}"
            )
        raise ValueError(
            f"action {action.key!r} is RELATIVE but there is no state component {wanted!r}"
            f"{did_you_mean(wanted, states)}; name one with state_key, or use ABSOLUTE"
        )
    if action.representation != "RELATIVE" or not action.train:
        return
    state = states[wanted]
    if not state.train:
        raise ValueError(
            f"action {action.key!r} is RELATIVE to state {wanted!r}, which is not trained; set train: true there"
        )
    if state.dims != action.dims:
        raise ValueError(
            f"action {action.key!r} has {action.dims} dims but the state {wanted!r} that it is RELATIVE to has "
            f"{state.dims}"
        )
    if state.kind != action.kind:
        raise ValueError(
            f"action {action.key!r} is a {action.kind} but the state {wanted!r} that it is RELATIVE to is a "
            f"{state.kind}"
        )
