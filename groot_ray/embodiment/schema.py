"""The typed description of a robot: how its recorded columns become GR00T's state and action vectors, and back.

A description lists *components* (``left_arm``, ``left_hand`` ...). Each takes a slice of a source column and becomes `dims`
neighboring columns of the converted vector, in the order of the list. The same description converts datasets, names the
dimensions in plots, writes the modality configuration and turns the model's actions into the robot's own.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    import numpy as np

MAX_HORIZON = 50  # action positions of the public GR00T N1.6 checkpoint
MAX_DIMS = 128  # width of its state and action inputs

Key = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]*$")]
Part = Literal["state", "action"]


class Described(BaseModel):
    """Base of all parts of a description: unknown keys are refused, values do not change once checked."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Camera(Described):
    """One camera: where its pictures come from and what they are called in the converted dataset."""

    key: Key = Field(description="modality key that the model's configuration uses, such as ego_view")
    source: str = Field(description="video feature of the robot's dataset, such as observation.images.top")
    feature: str = Field(
        "",
        description="name in the converted dataset (video folder, info.features, original_key); observation.images.<key> when not given",
    )
    fit: Literal["crop", "letterbox", "stretch"] = Field(
        "crop", description="how the picture becomes square: cut, pad or distort"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_feature(cls, data: Any) -> Any:
        if isinstance(data, dict) and not data.get("feature") and "key" in data:
            return {**data, "feature": f"observation.images.{data['key']}"}
        return data


class Component(Described):
    """A named group of dimensions; without `start` and `end` it is constant zeros of `dims` columns."""

    key: Key = Field(description="modality key, such as left_arm")
    column: str | None = Field(None, description="source column")
    start: int | None = Field(None, ge=0, description="first source dimension")
    end: int | None = Field(None, ge=1, description="source dimension after the last")
    dims: int = Field(ge=1, description="columns in the converted vector; end - start when not given")
    expand: Literal["none", "pad", "replicate"] = Field(
        "none",
        description="how more columns than source dimensions are filled: with zeros, or with copies of the one source dimension",
    )
    recover: Literal["first", "mean"] = Field("first", description="how copies become the robot's one dimension again")
    names: list[str] | None = Field(None, description="one name for each source dimension")
    units: str | list[str] | None = Field(None, description="one unit for all, or one for each source dimension")
    kind: Literal["position", "velocity", "delta"] = Field(
        "position", description="delta: change since the frame before; summed over the interval when resampling"
    )
    train: bool = Field(
        True, description="part of the trained modality configuration; else only kept as columns of the dataset"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_dims(cls, data: Any) -> Any:
        if isinstance(data, dict) and data.get("dims") is None:
            start, end = data.get("start"), data.get("end")
            if isinstance(start, int) and isinstance(end, int) and end > start:
                return {**data, "dims": end - start}
        return data

    @model_validator(mode="after")
    def _check(self) -> Component:
        if (self.start is None) != (self.end is None):
            raise ValueError(
                f"component {self.key!r} has only one of start and end; give both, or neither for constant zeros"
            )
        if self.start is not None and self.end is not None and self.end <= self.start:
            raise ValueError(f"component {self.key!r} ends at {self.end}, not after its start {self.start}")
        _check_width(self)
        count = self.width or self.dims
        if self.names is not None and len(self.names) != count:
            raise ValueError(f"component {self.key!r} has {len(self.names)} names for {count} source dimensions")
        if isinstance(self.units, list) and len(self.units) != count:
            raise ValueError(f"component {self.key!r} has {len(self.units)} units for {count} source dimensions")
        return self

    @property
    def width(self) -> int:
        """Number of source dimensions; 0 for constant zeros."""
        return 0 if self.start is None or self.end is None else self.end - self.start

    @property
    def real(self) -> int:
        """Number of leading columns that carry a source dimension once: padding, copies and constant zeros left out."""
        return self.width


def _check_width(component: Component) -> None:
    """Check `dims` against the source slice and the way of filling."""
    key, width, dims = component.key, component.width, component.dims
    if width == 0:
        if component.expand != "none":
            raise ValueError(f"component {key!r} has no source slice, so it is constant zeros and expand must be none")
    elif component.expand == "none" and dims != width:
        raise ValueError(
            f"component {key!r} has {width} source dimensions but dims {dims}; say expand: pad or replicate, or correct one"
        )
    elif component.expand == "pad" and dims < width:
        raise ValueError(f"component {key!r} cannot pad {width} source dimensions to only {dims}")
    elif component.expand == "replicate" and width != 1:
        raise ValueError(f"component {key!r} replicates {width} source dimensions; only a single one can be replicated")


class StateComponent(Component):
    """A component of the state vector."""

    normalization: Literal["min_max", "mean_std", "sin_cos"] = Field(
        "min_max", description="sin_cos replaces each angle by its sine and cosine, so it doubles the dimensions"
    )

    @model_validator(mode="before")
    @classmethod
    def _default_column(cls, data: Any) -> Any:
        return _with_column(data, "observation.state")


class ActionComponent(Component):
    """A component of the action vector, with its representation for the model."""

    representation: Literal["RELATIVE", "ABSOLUTE"] = Field(
        "ABSOLUTE", description="RELATIVE: the model predicts the difference to the current state of `state_key`"
    )
    type: Literal["NON_EEF", "EEF"] = Field(
        "NON_EEF", description="EEF: an end-effector pose, whose difference is a rigid transform"
    )
    format: Literal["DEFAULT", "XYZ_ROT6D", "XYZ_ROTVEC"] = Field(
        "DEFAULT", description="layout of an end-effector pose"
    )
    state_key: str | None = Field(
        None, description="state component that a RELATIVE action refers to; the same key when not given"
    )
    normalization: Literal["min_max", "mean_std"] = Field("min_max")

    @model_validator(mode="before")
    @classmethod
    def _default_column(cls, data: Any) -> Any:
        return _with_column(data, "action")

    @model_validator(mode="after")
    def _check_format(self) -> ActionComponent:
        if self.type == "EEF":
            needed = {"XYZ_ROT6D": 9, "XYZ_ROTVEC": 6}.get(self.format)
            if needed is None:
                raise ValueError(
                    f"action {self.key!r} is an end-effector pose; its format must be XYZ_ROT6D (9 dims) or XYZ_ROTVEC (6 dims)"
                )
            if self.dims != needed:
                raise ValueError(f"action {self.key!r} in format {self.format} needs {needed} dims, not {self.dims}")
        elif self.format != "DEFAULT":
            raise ValueError(
                f"action {self.key!r} has format {self.format}, which only end-effector poses (type: EEF) have"
            )
        if self.representation == "RELATIVE" and self.kind == "delta":
            raise ValueError(
                f"action {self.key!r} is a delta already, so it cannot be RELATIVE to the state; say ABSOLUTE"
            )
        return self


def _with_column(data: Any, column: str) -> Any:
    """Fill in the default source column of a component that has a source slice."""
    if isinstance(data, dict) and data.get("column") is None and data.get("start") is not None:
        return {**data, "column": column}
    return data


class Language(Described):
    """Where the instruction of an episode comes from."""

    key: str = Field(
        default="task",
        pattern=r"^(task|annotation\..+)$",
        description="language key of the converted dataset: task, or annotation.<name> where a configuration asks for that",
    )
    source: str | None = Field(
        default=None, description="source column of task numbers or texts that is read; task_index when not given"
    )


class Embodiment(Described):
    """A robot: its cameras, state, action, language and action horizon."""

    name: str = Field(min_length=1, description="name of the description")
    description: str = Field("", description="one line for people")
    robot_type: str = Field("", description="robot_type in meta/info.json; the name when not given")
    tag: str = Field("NEW_EMBODIMENT", description="embodiment tag, such as GR1 or NEW_EMBODIMENT")
    cameras: list[Camera] = Field(min_length=1)
    state: list[StateComponent] = Field(min_length=1)
    action: list[ActionComponent] = Field(min_length=1)
    language: Language = Field(default_factory=Language)
    action_horizon: int = Field(16, ge=1, le=MAX_HORIZON, description="steps that the model predicts at once")
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
        from groot_ray.model.shared.tags import resolve_tag

        return resolve_tag(value)

    @model_validator(mode="after")
    def _check(self) -> Embodiment:
        from groot_ray.embodiment.rules import check_embodiment

        check_embodiment(self)
        return self

    # Forwards: the robot's columns to the converted vectors.

    @property
    def state_dim(self) -> int:
        """Columns of the converted state vector (trained or not)."""
        return sum(c.dims for c in self.state)

    @property
    def action_dim(self) -> int:
        """Columns of the converted action vector (trained or not)."""
        return sum(c.dims for c in self.action)

    def source_columns(self) -> list[str]:
        """Columns of the robot's dataset that conversion reads, each once, in order of first use."""
        columns = [c.column for c in (*self.state, *self.action) if c.column is not None]
        if self.language.source is not None:
            columns.append(self.language.source)
        return list(dict.fromkeys(columns))

    def map_state(self, columns: Mapping[str, np.ndarray], where: str = "") -> np.ndarray:
        """Map source columns, each float [T, W], to the state vector float32 [T, state_dim]; see `mapping.map_columns`."""
        from groot_ray.embodiment.mapping import map_columns

        return map_columns(self, "state", columns, where)

    def map_action(self, columns: Mapping[str, np.ndarray], where: str = "") -> np.ndarray:
        """Map source columns, each float [T, W], to the action vector float32 [T, action_dim]; see `mapping.map_columns`."""
        from groot_ray.embodiment.mapping import map_columns

        return map_columns(self, "action", columns, where)

    def kinds(self, part: Part) -> list[str]:
        """Kind (position, velocity or delta) of each converted column of the state or action vector."""
        return [c.kind for c in self.components(part) for _ in range(c.dims)]

    # Backwards: the model's vectors to the robot's columns.

    def components(self, part: Part, trained: bool = False) -> Sequence[Component]:
        """Components of the state or the action, all or only the trained ones, in order."""
        chosen: Sequence[Component] = self.state if part == "state" else self.action
        return [c for c in chosen if c.train] if trained else chosen

    def to_robot(
        self, values: Mapping[str, np.ndarray], part: Part = "action", fill: float = float("nan")
    ) -> dict[str, np.ndarray]:
        """Map trained components, each [..., dims], to the robot's own columns, each float32 [..., W]; see `mapping.to_robot`."""
        from groot_ray.embodiment.mapping import to_robot

        return to_robot(self, values, part, fill)

    def real_action_dims(self, keys: Sequence[str] | None = None) -> list[int]:
        """Indices, in the concatenation of the trained action keys (or of `keys`), of dimensions that the robot has."""
        from groot_ray.embodiment.dimensions import real_dims

        return real_dims(self, "action", keys)

    def action_dim_names(self, keys: Sequence[str] | None = None) -> list[str]:
        """Names such as ``left_arm.waist`` of all dimensions of the trained action keys (or of `keys`)."""
        from groot_ray.embodiment.dimensions import dim_names

        return dim_names(self, "action", keys)

    def action_dim_units(self, keys: Sequence[str] | None = None) -> list[str]:
        """Units of all dimensions of the trained action keys (or of `keys`); empty text where none is given."""
        from groot_ray.embodiment.dimensions import dim_units

        return dim_units(self, "action", keys)

    def observation(
        self,
        state: np.ndarray | Mapping[str, np.ndarray],
        frames: Mapping[str, np.ndarray],
        instruction: str,
        size: int = 256,
    ) -> dict[str, Any]:
        """Turn the robot's live state and camera frames into a policy's observation; see `observation.observation`."""
        from groot_ray.policy.robot import observation

        return observation(self, state, frames, instruction, size)

    # NVIDIA's formats.

    def modality_json(self) -> dict[str, Any]:
        """Content of ``meta/modality.json``: all components (trained or not), cameras and annotations."""
        from groot_ray.embodiment.modality import modality_json

        return modality_json(self)

    def modality_configs(self) -> dict[str, dict[str, Any]]:
        """Trained modality configuration as plain data, in the form of NVIDIA's ``processor_config.json``."""
        from groot_ray.embodiment.modality import modality_configs

        return modality_configs(self)

    def to_json(self) -> dict[str, Any]:
        """The whole description as plain JSON data; `load_embodiment` reads it back to an equal one."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The description as a YAML file, defaults left out."""
        from groot_ray.embodiment.load import to_yaml

        return to_yaml(self)
