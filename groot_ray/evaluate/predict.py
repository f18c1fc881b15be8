"""A policy's predictions over the recorded episodes of a dataset."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from groot_ray.errors import ConfigurationError, DataError
from groot_ray.evaluate.layout import ActionLayout, action_layout
from groot_ray.evaluate.rating import Trajectory

if TYPE_CHECKING:
    from groot_ray.dataset.groot.dataset import GrootDataset
    from groot_ray.embodiment.schema import Embodiment


class Predictor(Protocol):
    """What open-loop evaluation needs from a policy; `groot_ray.policy.policy.Policy` is one."""

    tag: str

    @property
    def modality(self) -> Mapping[str, Any]:
        """The tag's modality configuration as plain JSON data."""

    def get_action(
        self, observation: Mapping[str, Any], options: Mapping[str, Any] | None = None, *, seed: Any = None
    ) -> tuple[dict[str, np.ndarray], dict[str, Any]]:
        """Absolute actions {key: float32 [B, horizon, D]} for a batch of observations."""


def choose_episodes(dataset: GrootDataset, ids: Sequence[int] | None) -> list[int]:
    """Positions in the dataset of the episodes with these numbers; all when not given.

    Raises:
        ConfigurationError: the dataset has no such episode.
    """
    if ids is None:
        return list(range(len(dataset)))
    positions = {episode.index: position for position, episode in enumerate(dataset.episodes)}
    missing = [i for i in ids if i not in positions]
    if missing:
        raise ConfigurationError(
            f"{dataset.path} has no trajectory {', '.join(map(str, missing))}; it has {len(positions)}, "
            f"numbered {min(positions)} to {max(positions)}"
        )
    return [positions[i] for i in dict.fromkeys(ids)]


def check_fits(dataset: GrootDataset, modality: Mapping[str, Any], tag: str, action_horizon: int) -> None:
    """Check before any prediction that a dataset has what a checkpoint's modality configuration asks for.

    Raises:
        ConfigurationError: `action_horizon` exceeds the checkpoint's horizon.
        DataError: the dataset lacks modality keys; the message lists them all.
    """
    deltas = modality["action"]["delta_indices"]
    if list(deltas) != list(range(len(deltas))):
        raise ConfigurationError(
            f"tag {tag} predicts the frames {list(deltas)} after the observed one; open-loop evaluation needs "
            "0, 1, 2 ... without gaps"
        )
    if action_horizon > len(deltas):
        raise ConfigurationError(
            f"action_horizon {action_horizon} is more than the {len(deltas)} steps that the checkpoint predicts "
            f"for tag {tag}; use at most {len(deltas)}"
        )
    has: dict[str, Mapping[str, Any]] = {
        "video": dataset.modality.video,
        "state": dataset.modality.state,
        "action": dataset.modality.action,
    }
    missing = [
        f"{part} {key!r}" for part, known in has.items() for key in modality[part]["modality_keys"] if key not in known
    ]
    key = modality["language"]["modality_keys"][0]
    if key.startswith("annotation.") and key.removeprefix("annotation.") not in dataset.modality.annotation:
        missing.append(f"language {key!r}")
    if missing:
        raise DataError(
            f"{dataset.path} has no {', '.join(missing)}, which the checkpoint was trained with for tag {tag}; "
            "name a dataset of the same embodiment, or another tag"
        )


def layout_of(dataset: GrootDataset, modality: Mapping[str, Any], robot: Embodiment | None = None) -> ActionLayout:
    """Names and units of the action columns that a checkpoint predicts, and which of them the robot has.

    They come from the dataset's own description of the robot or, where it has none, from `robot`.
    """
    described = dataset.embodiment or robot
    return action_layout(modality["action"]["modality_keys"], dataset.modality, described, dataset.features)


def frames_of(dataset: GrootDataset, position: int, steps: int | None) -> int:
    """Number of frames of an episode that are evaluated: all, or the first `steps`."""
    return dataset.length(position) if steps is None else min(steps, dataset.length(position))


def predict_trajectory(
    policy: Predictor,
    dataset: GrootDataset,
    position: int,
    *,
    steps: int | None,
    action_horizon: int,
    seed: int,
    batch_size: int,
) -> Trajectory:
    """Predict at every `action_horizon`-th frame of an episode and concatenate the used parts of the predictions.

    The noise of each prediction is seeded by (seed, episode number, frame), whatever the batch or other episodes.

    Raises:
        DataError: the policy's action keys have other widths than the dataset's, or a value is not finite.
    """
    keys, episode = policy.modality["action"]["modality_keys"], dataset.episodes[position].index
    frames = frames_of(dataset, position, steps)
    truth = recorded_actions(dataset, position, policy.modality, frames)
    starts = tuple(range(0, frames, action_horizon))
    chunks = []
    for batch in batches(starts, batch_size):
        actions, _ = policy.get_action(
            observe(dataset, position, batch, policy), seed=[(seed, episode, start) for start in batch]
        )
        chunks.append(np.concatenate([actions[key][:, :action_horizon] for key in keys], axis=-1))
    used = np.concatenate(chunks)
    if used.shape[-1] != truth.shape[-1]:
        raise DataError(
            f"the checkpoint predicts {used.shape[-1]} action dimensions, but {dataset.path} has {truth.shape[-1]} "
            "under the same keys; name a dataset of the same embodiment"
        )
    prediction = used.reshape(-1, used.shape[-1])[:frames]
    _check_finite(prediction, f"{dataset.where(position)}: the checkpoint's prediction", "its training has diverged")
    return Trajectory(episode, prediction, truth, starts)


def recorded_actions(dataset: GrootDataset, position: int, modality: Mapping[str, Any], frames: int) -> np.ndarray:
    """The recorded actions of the first `frames` frames: float32 [frames, D], the action keys side by side.

    Raises:
        DataError: a value is not finite.
    """
    arrays = dataset.arrays(position, modality["language"]["modality_keys"][0])
    recorded = np.concatenate([arrays.action[key][:frames] for key in modality["action"]["modality_keys"]], axis=1)
    _check_finite(recorded, f"{dataset.where(position)}: the recorded action", "repair the recording or exclude it")
    return recorded


def recorded_states(
    dataset: GrootDataset, position: int, modality: Mapping[str, Any], frames: int
) -> dict[str, np.ndarray]:
    """The state of the first `frames` frames by key, each float32 [frames, D]."""
    arrays = dataset.arrays(position, modality["language"]["modality_keys"][0])
    return {key: values[:frames] for key, values in arrays.state.items()}


def observe(dataset: GrootDataset, position: int, steps: Sequence[int], policy: Predictor) -> dict[str, Any]:
    """The observations at some frames of an episode as one batch in the nested form that policies take."""
    samples = [dataset.sample(position, step, policy.modality, policy.tag, with_action=False) for step in steps]
    (language,) = policy.modality["language"]["modality_keys"]
    return {
        "video": {key: np.stack([s["images"][key] for s in samples]) for key in samples[0]["images"]},
        "state": {key: np.stack([s["state"][key] for s in samples]) for key in samples[0]["state"]},
        "language": {language: [[s["language"]] for s in samples]},
    }


def batches(items: Sequence[int], size: int) -> Iterator[Sequence[int]]:
    """Cut `items` into runs of at most `size`."""
    for at in range(0, len(items), size):
        yield items[at : at + size]


def _check_finite(actions: np.ndarray, what: str, advice: str) -> None:
    bad = np.argwhere(~np.isfinite(actions))
    if len(bad):
        raise DataError(f"{what} at frame {bad[0][0]}, dimension {bad[0][1]} is {actions[tuple(bad[0])]}; {advice}")
