"""A robot's description: its cameras, state, action, instruction and action horizon, as one checked value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from pydantic import Field, field_validator, model_validator

from groot_ray.embodiment.components import (
    ActionComponent,
    Camera,
    Component,
    Described,
    Language,
    Part,
    StateComponent,
)
from groot_ray.embodiment.rules import check_parts
from groot_ray.model.family import known_tags
from groot_ray.model.shared.tags import resolve_tag


class Embodiment(Described):
    """A robot: its cameras, state, action, language and action horizon."""

    name: str = Field(min_length=1, description="name of the description")
    description: str = Field("", description="one line for people")
    robot_type: str = Field("", description="robot_type in meta/info.json; the name when not given")
    tag: str = Field("NEW_EMBODIMENT", description="embodiment tag, such as GR1 or NEW_EMBODIMENT")
    cameras: list[Camera] = Field(min_length=1, max_length=100)
    state: list[StateComponent] = Field(min_length=1, max_length=1000)
    action: list[ActionComponent] = Field(min_length=1, max_length=1000)
    language: Language = Field(default_factory=Language)
    action_horizon: int = Field(16, ge=1, le=10_000, description="steps that the model predicts at once")
    ignore_extra_dims: bool = Field(
        False, description="accept source columns that are wider than what the components use"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_robot_type(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("robot_type") and isinstance(data.get("name"), str):
            return {**data, "robot_type": data["name"]}
        return data

    @field_validator("tag")
    @classmethod
    def _known_tag(cls, value: str) -> str:
        return resolve_tag(value, known_tags())

    @model_validator(mode="after")
    def _check(self) -> Embodiment:
        check_parts(self.cameras, self.state, self.action)
        return self

    @property
    def state_dim(self) -> int:
        """Width of the converted state vector, trained or not."""
        return sum(c.dims for c in self.state)

    @property
    def action_dim(self) -> int:
        """Width of the converted action vector, trained or not."""
        return sum(c.dims for c in self.action)

    def source_columns(self) -> list[str]:
        """Distinct columns of the robot's dataset that conversion reads, in order of first use."""
        columns = [c.column for c in (*self.state, *self.action) if c.column is not None]
        if self.language.source is not None:
            columns.append(self.language.source)
        return list(dict.fromkeys(columns))

    def components(self, part: Part, trained: bool = False) -> Sequence[Component]:
        """Components of the state or the action in order, all or only the trained ones."""
        components: Sequence[Component] = self.state if part == "state" else self.action
        return [c for c in components if c.train] if trained else components

    def kinds(self, part: Part) -> list[str]:
        """Kind (position, velocity or delta) of each dimension of the converted state or action vector."""
        return [c.kind for c in self.components(part) for _ in range(c.dims)]

    def to_json(self) -> dict[str, Any]:
        """The complete description as plain JSON data; `load_embodiment` reads it back unchanged."""
        return self.model_dump(mode="json")
