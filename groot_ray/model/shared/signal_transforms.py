"""The steps between a robot's state or action by key and the padded array that the model takes, and back."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from groot_ray.errors import DataError
from groot_ray.model.shared.normalization import Scaling
from groot_ray.model.shared.rotation import absolute_pose, relative_pose
from groot_ray.model.shared.transform import Signal, Values


@dataclass(frozen=True)
class KeyCheck:
    """What raw values of one key must be: a finite float array [..., frames, dims]."""

    tag: str
    part: str
    key: str
    frames: int
    dims: int

    def __call__(self, values: Values) -> np.ndarray:
        """The key's values [..., frames, dims], converted to float32 if they are not floating-point.

        Raises:
            DataError: the key is missing, has another shape or is not finite.
        """
        where = f"{self.part} {self.key!r} of tag {self.tag}"
        if self.key not in values:
            raise DataError(f"{where} is missing; there are {listed(values)}")
        array = np.asarray(values[self.key])
        if array.dtype.kind != "f":
            array = array.astype(np.float32)
        if array.ndim < 2 or array.shape[-2:] != (self.frames, self.dims):
            raise DataError(
                f"{where} has the shape {list(array.shape)} instead of [{self.frames}, {self.dims}] (frames, dims); "
                "check the modality configuration against the data"
            )
        if not np.isfinite(array).all():
            bad = np.unique(np.argwhere(~np.isfinite(array))[:, -1])
            raise DataError(
                f"{where} is not finite (NaN or infinite) in dims {', '.join(map(str, bad))}; "
                "repair the recording or leave the episode out"
            )
        return array


@dataclass(frozen=True)
class Check:
    """Raw values to checked ones, in the order of the keys; the inverse makes values float32."""

    keys: tuple[KeyCheck, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        return signal.having({check.key: check(signal.by_key) for check in self.keys})

    @property
    def inverse(self) -> Float32:
        """Values as a robot takes them."""
        return Float32()


@dataclass(frozen=True)
class Float32:
    """Values of any float dtype as float32."""

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        return signal.having({key: values.astype(np.float32) for key, values in signal.by_key.items()})


@dataclass(frozen=True)
class Reference:
    """An action key that is relative to a state key: as a difference, or as a rigid transform between poses."""

    key: str
    state: KeyCheck
    is_pose: bool


@dataclass(frozen=True)
class ToRelative:
    """Absolute actions [..., H, D] to actions relative to the last state frame; float64 differences, or poses."""

    references: tuple[Reference, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        values = dict(signal.by_key)
        for reference in self.references:
            state = _last_state(reference, signal)
            absolute = values[reference.key]
            if reference.is_pose:
                values[reference.key] = relative_pose(absolute, state)
            else:
                values[reference.key] = absolute.astype(np.float64) - state[..., None, :]
        return signal.having(values)

    @property
    def inverse(self) -> ToAbsolute:
        """The step back, from the same state."""
        return ToAbsolute(self.references)


@dataclass(frozen=True)
class ToAbsolute:
    """Relative actions [..., H, D] to absolute ones, with the last frame of the signal's raw state."""

    references: tuple[Reference, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        values = dict(signal.by_key)
        for reference in self.references:
            state = _last_state(reference, signal)
            relative = values[reference.key]
            values[reference.key] = (
                absolute_pose(relative, state) if reference.is_pose else relative + state[..., None, :]
            )
        return signal.having(values)


def _last_state(reference: Reference, signal: Signal) -> np.ndarray:
    """The raw state [..., D] that an action key starts from."""
    if signal.state is None:
        raise DataError(
            f"action {reference.key!r} of tag {reference.state.tag} is RELATIVE, so it needs the raw state "
            f"{reference.state.key!r}; "
            "give the states"
        )
    state: np.ndarray = reference.state(signal.state)[..., -1, :]
    return state


@dataclass(frozen=True)
class Scale:
    """Raw values to the range that the model is trained on, key by key."""

    scalings: tuple[tuple[str, Scaling], ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        return signal.having({key: scaling.encode(signal.by_key[key]) for key, scaling in self.scalings})

    @property
    def inverse(self) -> Unscale:
        """The step back; clipped values stay clipped."""
        return Unscale(self.scalings)


@dataclass(frozen=True)
class Unscale:
    """The model's values to raw ones, float64, key by key."""

    scalings: tuple[tuple[str, Scaling], ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        return signal.having({key: scaling.decode(signal.by_key[key]) for key, scaling in self.scalings})


@dataclass(frozen=True)
class Concatenate:
    """Values by key [..., T, D] to one float32 array [..., T, sum of D]; `widths` are the keys' D."""

    keys: tuple[str, ...]
    widths: tuple[int, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        parts = [signal.by_key[key] for key in self.keys]
        return signal.having(np.concatenate(parts, axis=-1, dtype=np.float32))

    @property
    def inverse(self) -> Split:
        """The way back."""
        return Split(self.keys, self.widths)


@dataclass(frozen=True)
class Split:
    """One array [..., T, >= sum of D] to values by key [..., T, D]."""

    keys: tuple[str, ...]
    widths: tuple[int, ...]

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        parts, start = {}, 0
        for key, width in zip(self.keys, self.widths, strict=True):
            parts[key] = signal.joined[..., start : start + width]
            start += width
        return signal.having(parts)


@dataclass(frozen=True)
class Pad:
    """An array [rows, columns] to the model's float32 [to_rows, to_columns], with zeros after its own values."""

    rows: int
    columns: int
    to_rows: int
    to_columns: int

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        padded = np.zeros((self.to_rows, self.to_columns), dtype=np.float32)
        padded[: self.rows, : self.columns] = signal.joined
        return signal.having(padded)

    @property
    def inverse(self) -> Crop:
        """The step back; it also takes batches."""
        return Crop(self.rows, self.columns)


@dataclass(frozen=True)
class Crop:
    """An array [..., >= rows, >= columns] to its first [..., rows, columns]."""

    rows: int
    columns: int

    def __call__(self, signal: Signal) -> Signal:
        """The signal after this step."""
        return signal.having(signal.joined[..., : self.rows, : self.columns])


def listed(values: Values | Sequence[str]) -> str:
    """Names for a sentence."""
    return ", ".join(repr(key) for key in values) or "none"
