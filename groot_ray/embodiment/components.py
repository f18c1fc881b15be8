"""The parts of a description: cameras, state and action components, and the language instruction, as checked values."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import ConfigDict, Field, model_validator

from groot_ray.field_types import Checked

Key = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_.\-]*$")]
Part = Literal["state", "action"]
MOST_DIMS = 100_000
Fit = Literal["crop", "letterbox", "stretch"]


class Described(Checked):
    """Base of all parts of a description: unknown keys are rejected, values are frozen."""

    model_config = ConfigDict(frozen=True)


class Camera(Described):
    """One camera: the source of its images and their name in the converted dataset."""

    key: Key = Field(description="modality key that the model's configuration uses, such as ego_view")
    source: str = Field(description="video feature of the robot's dataset, such as observation.images.top")
    feature: str = Field(
        "",
        description="name in the converted dataset (video folder, info.features, original_key); "
        "observation.images.<key> when not given",
    )
    fit: Fit = Field("crop", description="how an image becomes square: cut, pad or distort")

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
    start: int | None = Field(None, ge=0, le=MOST_DIMS, description="first source dimension")
    end: int | None = Field(None, ge=1, le=MOST_DIMS, description="source dimension after the last")
    dims: int = Field(ge=1, le=MOST_DIMS, description="columns in the converted vector; end - start when not given")
    expand: Literal["none", "pad", "replicate"] = Field(
        "none",
        description="how columns beyond the source dimensions are filled: with zeros, or with copies of the one source "
        "dimension",
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
        """float of source dimensions; 0 for constant zeros."""
        return 0 if self.start is None or self.end is None else self.end - self.start

    @property
    def real(self) -> int:
        """float of leading columns that carry a source dimension once: padding, copies and constant zeros left out."""
        return self.width


def _check_width(component: Component) -> None:
    """Check `dims` against the source slice and `expand`."""
    key, width, dims = component.key, component.width, component.dims
    if width == 0:
        if component.expand != "none":
            raise ValueError(f"component {key!r} has no source slice, so it is constant zeros; expand must be none")
    elif component.expand == "none" and dims != width:
        raise ValueError(
            f"component {key!r} has {width} source dimensions but dims {dims}; set expand to pad or replicate, or "
            "correct one of them"
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
    """A component of the action vector, with its representation in the model."""

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
                    f"action {self.key!r} is an end-effector pose; its format must be XYZ_ROT6D (9 dims) or XYZ_ROTVEC "
                    "(6 dims)"
                )
            if self.dims != needed:
                raise ValueError(f"action {self.key!r} in format {self.format} needs {needed} dims, not {self.dims}")
        elif self.format != "DEFAULT":
            raise ValueError(
                f"action {self.key!r} has format {self.format}, which is only for end-effector poses (type: EEF)"
            )
        if self.representation == "RELATIVE" and self.kind == "delta":
            raise ValueError(
                f"action {self.key!r} is already a delta, so it cannot be RELATIVE to the state; use ABSOLUTE"
            )
        return self


def _with_column(data: Any, column: str) -> Any:
    """Fill in the default source column of a component that has a source slice."""
    if isinstance(data, dict) and data.get("column") is None and data.get("start") is not None:
        return {**data, "column": column}
    return data


class Language(Described):
    """The source of an episode's instruction."""

    key: str = Field(
        default="task",
        pattern=r"^(task|annotation\..+)$",
        description="language key of the converted dataset: task, or annotation.<name> if a configuration asks for it",
    )
    source: str | None = Field(
        default=None, description="source column of task numbers or texts that is read; task_index when not given"
    )
