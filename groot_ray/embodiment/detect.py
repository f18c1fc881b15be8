"""Proposes a description from a dataset's names of columns, dimensions and cameras.

The proposal is a starting point. The user decides whether an action is best RELATIVE and what its units are.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any, Protocol

from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import DataError

STATE, ACTION = "observation.state", "action"

# The limb of a dimension, by words in its name; the first match decides.
GROUPS: tuple[tuple[str, str], ...] = (
    ("base_odom", r"odom"),
    ("base_vel", r"(lin|ang|linear|angular|base|wheel).*vel|vel.*(lin|ang|linear|angular|x|y|theta)$|navigate"),
    ("gripper", r"grip|claw|jaw"),
    ("hand", r"hand|finger|thumb|pinky|(^|_)ring|middle|index"),
    ("leg", r"leg|hip|knee|ankle"),
    ("neck", r"neck|head"),
    ("torso", r"torso|trunk|spine|lift"),
    ("arm", r"arm|shoulder|elbow|wrist|forearm|joint|motor|waist"),
)
SIDES = (("left", r"(^|_)(left|l)(_|$)"), ("right", r"(^|_)(right|r)(_|$)"))
ABSOLUTE_GROUPS = ("gripper", "hand", "base_vel")


class Source(Protocol):
    """What detection needs to know about a dataset; a source dataset provides it."""

    @property
    def robot_type(self) -> str: ...

    @property
    def features(self) -> dict[str, Any]: ...

    @property
    def cameras(self) -> list[str]: ...

    def feature_names(self, column: str) -> list[str] | None: ...

    def width(self, column: str) -> int | None: ...


def propose_embodiment(source: Source, name: str | None = None) -> Embodiment:
    """Propose a description in which neighboring dimensions of one limb form a component.

    Arms are RELATIVE to the state, hands and bases ABSOLUTE.

    Raises:
        DataError: the dataset has no state or action column, or no camera.
    """
    for column in (STATE, ACTION):
        if source.width(column) is None:
            known = ", ".join(source.features) or "none"
            raise DataError(
                f"no embodiment can be proposed: there is no column {column!r} with a known width; "
                f"the features are {known}"
            )
    if not source.cameras:
        raise DataError("no embodiment can be proposed: the dataset has no camera kept as video")
    state = _components(_names(source, STATE, ACTION))
    action = _components(_names(source, ACTION, STATE))
    widths = {c["key"]: c["end"] - c["start"] for c in state}
    for component in action:
        related = (
            widths.get(component["key"]) == component["end"] - component["start"] and component.get("kind") is None
        )
        absolute = any(component["key"].endswith(group) for group in ABSOLUTE_GROUPS)
        component["representation"] = "RELATIVE" if related and not absolute else "ABSOLUTE"
    robot = source.robot_type or "robot"
    return Embodiment.model_validate(
        {
            "name": name or re.sub(r"\W+", "_", robot).strip("_").lower() or "robot",
            "description": "proposed from names and widths of a dataset; check representation, kind and units",
            "robot_type": robot,
            "cameras": [
                {"key": key, "source": camera}
                for key, camera in zip(_camera_keys(source.cameras), source.cameras, strict=True)
            ],
            "state": state,
            "action": action,
        }
    )


def _names(source: Source, column: str, other: str) -> list[str] | int:
    """Names of a column's dimensions; if it has none, those of the other column if equally wide; else its width."""
    names = source.feature_names(column)
    if names is None and source.width(other) == source.width(column):
        names = source.feature_names(other)
    return names or source.width(column) or 0


def _components(names: Sequence[str] | int) -> list[dict[str, Any]]:
    """Components from runs of neighboring dimensions of the same limb; a column without names is one component."""
    if isinstance(names, int):
        return [{"key": "joints", "start": 0, "end": names}]
    words = [snake(name) for name in names]
    limbs = [limb(word) for word in words]
    components: list[dict[str, Any]] = []
    start = 0
    for position in range(1, len(limbs) + 1):
        if position < len(limbs) and limbs[position] == limbs[start]:
            continue
        names = [_short(word, limbs[start]) for word in words[start:position]]
        component: dict[str, Any] = {
            "key": _free(limbs[start], components),
            "start": start,
            "end": position,
            "names": names,
        }
        if limbs[start] == "base_vel":
            component["kind"] = "velocity"
        components.append(component)
        start = position
    return components


def limb(word: str) -> str:
    """The component that a dimension's name (in snake case) belongs to, such as ``left_arm`` or ``base_vel``."""
    group = next((group for group, pattern in GROUPS if re.search(pattern, word)), "joints")
    if group.startswith("base"):
        return group
    side = next((side for side, pattern in SIDES if re.search(pattern, word)), None)
    return f"{side}_{group}" if side else group


def snake(name: str) -> str:
    """A name in snake case: ``kLeftShoulderPitch`` as ``left_shoulder_pitch``, ``left.waist`` as ``left_waist``."""
    name = re.sub(r"^k(?=[A-Z])", "", name)
    name = re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name)
    return re.sub(r"[^a-z0-9]+", "_", name.lower()).strip("_")


def _short(word: str, key: str) -> str:
    """A dimension's name without its component's key: ``left_hand_pinky`` of ``left_hand`` is ``pinky``."""
    for prefix in (key, *(side for side, _ in SIDES if key.startswith(side))):
        if word.startswith(f"{prefix}_"):
            return word[len(prefix) + 1 :]
    return word


def _free(key: str, components: Sequence[dict[str, Any]]) -> str:
    """The key, with a number appended if an earlier run of the same limb uses it."""
    taken = {c["key"] for c in components}
    number = 2
    free = key
    while free in taken:
        free, number = f"{key}_{number}", number + 1
    return free


def _camera_keys(cameras: Sequence[str]) -> list[str]:
    """Short keys: the last part of each camera's name if these are unique, else the full name."""
    short = [_key(camera.rsplit(".", 1)[-1]) for camera in cameras]
    if len(set(short)) == len(short):
        return short
    return [_key(camera.removeprefix("observation.images.")) for camera in cameras]


def _key(name: str) -> str:
    """A name as a modality key: letters, digits and underscores, not starting with a digit."""
    key = re.sub(r"[^A-Za-z0-9_]+", "_", name)
    return f"cam_{key}" if key[:1].isdigit() else key
