"""`Processor`: samples in the robot's units to the model's batches, and the model's actions back to the robot's units.

It reads and writes the three files that make a GR00T N1.6 checkpoint usable (``processor_config.json``, ``statistics.json``,
``embodiment_id.json``) in NVIDIA's form, with nothing of our own in them, and keeps the tokenizer beside them in ``tokenizer/``.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.model.n1d6.prompt import expand, formalize, render
from groot_ray.model.shared.batch import describe_batch
from groot_ray.model.shared.images import ImageOptions, ImageTransform, pixel_values, smart_resize
from groot_ray.model.shared.modality import ModalityConfigs, modality_configs_json, parse_modality_configs
from groot_ray.model.shared.state_action import StateActionTransform
from groot_ray.model.shared.tags import EMBODIMENT_TAGS, NEW_EMBODIMENT, resolve_tag, tag_value
from groot_ray.model.shared.tokenizer import DEFAULT_TOKENIZER, FOLDER, TINY, Tokenizer, build_tokenizer, has_tokenizer

log = logging.getLogger(__name__)

CONFIG, STATISTICS, IDS = "processor_config.json", "statistics.json", "embodiment_id.json"

# In the order of the reference's file, with the values of its constructor where a checkpoint's file leaves one out.
_DEFAULTS: dict[str, Any] = {
    "image_crop_size": None,
    "image_target_size": None,
    "use_albumentations": False,
    "random_rotation_angle": None,
    "color_jitter_params": None,
    "shortest_image_edge": 512,
    "crop_fraction": 0.95,
    "model_name": "nvidia/Eagle-Block2A-2B-v2",
    "model_type": "eagle",
    "formalize_language": True,
    "max_state_dim": 29,
    "max_action_dim": 29,
    "max_action_horizon": 40,
    "use_percentiles": False,
    "clip_outliers": True,
    "apply_sincos_state_encoding": False,
    "use_relative_action": False,
}
# What NVIDIA's public checkpoint has where it differs from its constructor.
_FRESH: dict[str, Any] = {
    "use_albumentations": True,
    "shortest_image_edge": 256,
    "max_state_dim": 128,
    "max_action_dim": 128,
    "max_action_horizon": 50,
    "apply_sincos_state_encoding": True,
    "use_relative_action": True,
}
# Later releases of the reference save this one; where it is absent pictures are letterboxed.
_LETTER_BOX = "letter_box_transform"

Features = dict[str, Any]


class Processor:
    """All processing of one checkpoint, for each of its embodiment tags.

    Attributes:
        settings: ``processor_kwargs`` of ``processor_config.json`` without ``modality_configs``.
        modality_configs: plain configuration by tag value (``gr1``), as the file holds it; `configs` gives a checked one.
        statistics: ``{tag value: {state|action|relative_action: {key: {min, max, mean, std, q01, q99}}}}``.
        embodiment_ids: number of each tag's weights in the action head, by tag value.
        extra_augmentation_config: augmentation of masked regions; used in training and not saved, as in the reference.
    """

    def __init__(
        self,
        settings: Mapping[str, Any],
        modality_configs: Mapping[str, Any],
        statistics: Mapping[str, Any],
        embodiment_ids: Mapping[str, int],
        tokenizer: Tokenizer | str | Path,
        *,
        extra_augmentation_config: Mapping[str, Any] | None = None,
    ) -> None:
        self.settings = {**_DEFAULTS, **settings}
        self.modality_configs = dict(modality_configs)
        self.statistics = dict(statistics)
        own = {tag.value: tag.id for tag in EMBODIMENT_TAGS.values()}
        self.embodiment_ids = {**embodiment_ids, **{k: v for k, v in own.items() if k not in embodiment_ids}}
        self.extra_augmentation_config = extra_augmentation_config
        self.images = ImageTransform(self._image_options())
        self._tokenizer = tokenizer
        self._configs: dict[str, ModalityConfigs] = {}
        self._transforms: dict[str, StateActionTransform] = {}
        self._prompts: dict[tuple[str, tuple[tuple[int, int], ...]], np.ndarray] = {}

    # Files

    @classmethod
    def new(
        cls,
        tokenizer: Tokenizer | str | Path = TINY,
        *,
        extra_augmentation_config: Mapping[str, Any] | None = None,
        **settings: Any,
    ) -> Processor:
        """A processor without any tag yet, set up as NVIDIA's public checkpoint is.

        `settings` replace entries of ``processor_config.json``, such as ``max_action_dim`` for another size of model.
        """
        for name in settings:
            if name not in _DEFAULTS:
                raise ConfigurationError(
                    f"{name!r} is no setting of the processor{did_you_mean(name, _DEFAULTS)}; there are {', '.join(_DEFAULTS)}"
                )
        return cls({**_FRESH, **settings}, {}, {}, {}, tokenizer, extra_augmentation_config=extra_augmentation_config)

    @classmethod
    def from_directory(
        cls,
        directory: Path | str,
        tokenizer: Tokenizer | str | Path | None = None,
        *,
        random_rotation_angle: float | None = None,
        color_jitter_params: Mapping[str, float] | None = None,
        use_relative_action: bool | None = None,
        extra_augmentation_config: Mapping[str, Any] | None = None,
    ) -> Processor:
        """Read a checkpoint's processor; of its settings only those given here can be replaced, as in the reference.

        Args:
            directory: a checkpoint, or any folder with the three files.
            tokenizer: where the tokenizer comes from (see `build_tokenizer`); the checkpoint's own when not given, else Qwen3's from
                the hub. It is read when it is first needed.

        Raises:
            ConfigurationError: a file is missing or is not of GR00T N1.6.
        """
        directory = Path(directory)
        config = _read(directory, CONFIG)
        kwargs = config.get("processor_kwargs")
        if not isinstance(kwargs, dict) or not isinstance(kwargs.get("modality_configs"), dict):
            raise ConfigurationError(
                f"{directory / CONFIG} is no GR00T N1.6 processor: it has no processor_kwargs with modality_configs"
            )
        kwargs = dict(kwargs)
        modality_configs = kwargs.pop("modality_configs")
        unknown = [key for key in kwargs if key not in _DEFAULTS and key != _LETTER_BOX]
        if unknown:
            log.warning("%s has settings that are kept but not used: %s", directory / CONFIG, ", ".join(unknown))
        replaced = {
            "random_rotation_angle": random_rotation_angle,
            "color_jitter_params": None if color_jitter_params is None else dict(color_jitter_params),
            "use_relative_action": use_relative_action,
        }
        kwargs.update({key: value for key, value in replaced.items() if value is not None})
        if tokenizer is None:
            tokenizer = directory if has_tokenizer(directory) else DEFAULT_TOKENIZER
        return cls(
            kwargs,
            modality_configs,
            _read(directory, STATISTICS),
            _read(directory, IDS) if (directory / IDS).is_file() else {},
            tokenizer,
            extra_augmentation_config=extra_augmentation_config,
        )

    def save(self, directory: Path | str) -> None:
        """Write the three files, as the reference writes and reads them, and ``tokenizer/``."""
        directory = Path(directory)
        directory.mkdir(parents=True, exist_ok=True)
        kwargs = {"modality_configs": self.modality_configs, **self.settings}
        _write(directory / CONFIG, {"processor_class": "Gr00tN1d6Processor", "processor_kwargs": kwargs})
        _write(directory / STATISTICS, self.statistics)
        _write(directory / IDS, self.embodiment_ids)
        self.tokenizer.save(directory / FOLDER)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, read (or fetched from the hub) when it is first asked for."""
        if not isinstance(self._tokenizer, Tokenizer):
            self._tokenizer = build_tokenizer(self._tokenizer)
        return self._tokenizer

    def __getstate__(self) -> dict[str, Any]:
        self._tokenizer = self.tokenizer  # its folder may not be there where the copy wakes up
        return {**self.__dict__, "_prompts": {}}

    # Tags

    @property
    def tags(self) -> list[str]:
        """NAMES of the tags that can be used: those with a modality configuration and statistics."""
        return [value.upper() for value in self.modality_configs if value in self.statistics]

    def configs(self, tag: str) -> ModalityConfigs:
        """The checked modality configuration of a tag, by name or value."""
        if tag not in self._configs:
            value = self._known(tag)
            self._configs[tag] = parse_modality_configs(self.modality_configs[value], f"tag {value.upper()}")
        return self._configs[tag]

    def dims(self, tag: str) -> tuple[int, int, int]:
        """State dims (sines and cosines counted), action dims and action horizon of a tag."""
        transform = self._transform(tag)
        return transform.state_dim, transform.action_dim, transform.action_horizon

    def set_embodiment(self, tag: str, modality_configs: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
        """Use a dataset's modality configuration and statistics for a tag, in place of those that the checkpoint may have.

        Args:
            tag: name or value.
            modality_configs: ``{video|state|action|language: ...}`` in NVIDIA's form.
            statistics: ``{state|action: {key: ...}, relative_action: {key: ...}}``.

        Returns:
            A sentence for the log that says what was replaced.

        Raises:
            ConfigurationError, DataError: the tag is unknown, configuration and statistics do not fit each other, or they are larger
                than the model; nothing is replaced then.
        """
        value = tag_value(tag, self.embodiment_ids)
        name = value.upper()
        configs = parse_modality_configs(modality_configs, f"tag {name}")
        plain = _plain_statistics(statistics)
        transform = self._checked_transform(name, configs, plain)
        before = self._summary(value) if value in self.modality_configs else None
        self.modality_configs[value] = modality_configs_json(configs)
        self.statistics[value] = plain
        self._configs.clear()
        self._transforms.clear()
        now = _sizes(transform)
        slot = f"weights of embodiment {self.embodiment_ids[value]}"
        if before is None:
            return f"tag {name} ({slot}) is new to the base model; it takes the dataset's modality configuration and statistics: {now}"
        return (
            f"tag {name} ({slot}) is known to the base model ({before}); the dataset's modality configuration, dims and statistics "
            f"replace it: {now}"
        )

    def _known(self, tag: str) -> str:
        value = resolve_tag(tag, [*self.modality_configs, *self.embodiment_ids]).lower()
        for part, known in (("modality configuration", self.modality_configs), ("statistics", self.statistics)):
            if value not in known:
                raise ConfigurationError(
                    f"the checkpoint has no {part} of tag {value.upper()}; it has {', '.join(self.tags) or 'none'}: "
                    f"name one of them, or finetune with a dataset (tag {NEW_EMBODIMENT} for a robot of your own)"
                )
        return value

    def _transform(self, tag: str) -> StateActionTransform:
        if tag not in self._transforms:
            value = self._known(tag)
            self._transforms[tag] = self._checked_transform(value.upper(), self.configs(tag), self.statistics[value])
        return self._transforms[tag]

    def _checked_transform(
        self, name: str, configs: ModalityConfigs, statistics: Mapping[str, Any]
    ) -> StateActionTransform:
        transform = StateActionTransform(
            name,
            configs,
            statistics,
            use_percentiles=bool(self.settings["use_percentiles"]),
            clip_outliers=bool(self.settings["clip_outliers"]),
            sin_cos_states=bool(self.settings["apply_sincos_state_encoding"]),
            relative_actions=bool(self.settings["use_relative_action"]),
        )
        for what, has, limit in (
            ("state has {} dims", transform.state_dim, "max_state_dim"),
            ("action has {} dims", transform.action_dim, "max_action_dim"),
            ("action horizon is {} steps", transform.action_horizon, "max_action_horizon"),
        ):
            if has > self.settings[limit]:
                raise ConfigurationError(
                    f"the {what.format(has)} for tag {name}, but the model takes at most {self.settings[limit]} ({limit}); "
                    "train fewer keys or a shorter horizon"
                )
        return transform

    def _summary(self, value: str) -> str:
        try:
            return _sizes(self._transform(value))
        except (ConfigurationError, DataError):
            return "with a configuration that cannot be read here"

    # Samples to batches

    def process(self, sample: Mapping[str, Any], train: bool, rng: np.random.Generator | None = None) -> Features:
        """One sample in raw units to the model's numbers.

        Args:
            sample: ``images`` {camera: uint8 [Tv, H, W, 3]}, ``state`` {key: float32 [Ts, D]}, ``action`` {key: float32 [H, D]} or None,
                ``language`` text, ``tag``; optionally ``action_valid`` bool [H] (False: the step is left out of the loss) and
                ``masks`` {camera: integer [Tv, H, W]}.
            train: augment pictures and insist on an action.
            rng: source of the augmentation; one random picture draw per sample, whatever the number of frames and cameras.

        Returns:
            ``state`` float32 [Ts, max_state_dim], ``embodiment_id`` int, ``text`` (prompt before expansion), ``images`` uint8 [h, w, 3]
            each (all cameras of the first frame, then of the next), ``pixels`` the same in the size that the model takes, and, where the
            sample has an action, ``action`` and ``action_mask`` float32 [max_action_horizon, max_action_dim].

        Raises:
            DataError: a key is missing, has the wrong shape, or is not finite.
        """
        tag = sample["tag"]
        transform = self._transform(tag)
        state = transform.check_state(sample["state"])
        features: Features = {
            "state": _padded(transform.encode_state(state), transform.state_frames, self.settings["max_state_dim"]),
            "embodiment_id": self.embodiment_ids[tag_value(tag, self.embodiment_ids)],
        }
        action = sample.get("action")
        if action is not None:
            horizon, dims = self.settings["max_action_horizon"], self.settings["max_action_dim"]
            features["action"] = _padded(transform.encode_action(action, state), horizon, dims)
            features["action_mask"] = _action_mask(sample.get("action_valid"), transform, horizon, dims)
        elif train:
            raise DataError(f"a training sample of tag {transform.name} has no action")
        features["images"] = self._pictures(sample, train, rng)
        features["pixels"] = [smart_resize(picture) for picture in features["images"]]
        language = sample["language"]
        if not isinstance(language, str):
            raise DataError(f"the instruction of tag {transform.name} is {type(language).__name__}, not text")
        if self.settings["formalize_language"]:
            language = formalize(language)
        features["text"] = render(language, len(features["images"]))
        return features

    def collate(self, features: Sequence[Features]) -> dict[str, Any]:
        """Features of B samples to a batch of tensors for the model.

        Returns:
            ``input_ids`` and ``attention_mask`` int64 [B, L], padded on the left; ``pixel_values`` float32 [N, 3, H, W] over all pictures
            of all samples in order (a list of [1, 3, H, W] where their sizes differ); ``state``, ``action``, ``action_mask`` float32;
            ``embodiment_id`` int64 [B]. Action and mask only where the samples have them. ``facts`` tells the network the batch's plain
            numbers, so that it need not ask a GPU for them.
        """
        batch: dict[str, Any] = self._tokens(features)
        batch["pixel_values"] = _pixels([picture for f in features for picture in f["pixels"]])
        for key in ("state", "action", "action_mask"):
            values = [f[key] for f in features if key in f]
            if not values:
                continue
            if len(values) != len(features) or any(v.shape != values[0].shape for v in values):
                raise DataError(
                    f"the samples of a batch differ in {key} (number of frames, or some have none); use the same for all embodiments"
                )
            batch[key] = torch.from_numpy(np.stack(values))
        batch["embodiment_id"] = torch.tensor([f["embodiment_id"] for f in features], dtype=torch.int64)
        batch["facts"] = describe_batch(batch, self.tokenizer.image_token_id)
        return batch

    def decode_action(
        self, action: np.ndarray | torch.Tensor, tag: str, states: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The model's action [B, max_action_horizon, max_action_dim] in the robot's units: float32 [B, H, D] by key, absolute.

        `states` holds the raw states [B, Ts, D] by key that RELATIVE actions start from.

        Raises:
            DataError: a state that is needed is missing or has the wrong shape.
        """
        if isinstance(action, torch.Tensor):
            action = action.detach().float().cpu().numpy()
        return self._transform(tag).decode_action(action, states)

    def _pictures(self, sample: Mapping[str, Any], train: bool, rng: np.random.Generator | None) -> list[np.ndarray]:
        video = self.configs(sample["tag"])["video"]
        frames = range(len(video.delta_indices))
        cameras = [_checked_frames(sample["images"], key, len(frames)) for key in video.modality_keys]
        pictures = [camera[t] for t in frames for camera in cameras]
        if not train:
            return self.images.evaluate(pictures)
        masks = sample.get("masks")
        if masks is not None:
            masks = [masks[key][t] for t in frames for key in video.modality_keys]
        return self.images.train(pictures, rng if rng is not None else np.random.default_rng(), masks)

    def _tokens(self, features: Sequence[Features]) -> dict[str, torch.Tensor]:
        prompts = [self._prompt(f["text"], tuple(picture.shape[:2] for picture in f["pixels"])) for f in features]
        longest = max(len(ids) for ids in prompts)
        input_ids = np.full((len(prompts), longest), self.tokenizer.pad_id, dtype=np.int64)
        attention_mask = np.zeros_like(input_ids)
        for row, ids in enumerate(prompts):
            input_ids[row, longest - len(ids) :] = ids
            attention_mask[row, longest - len(ids) :] = 1
        return {"input_ids": torch.from_numpy(input_ids), "attention_mask": torch.from_numpy(attention_mask)}

    def _prompt(self, text: str, sizes: tuple[tuple[int, int], ...]) -> np.ndarray:
        ids = self._prompts.get((text, sizes))
        if ids is None:
            ids = self.tokenizer.encode(expand(text, sizes))
            if len(self._prompts) >= 4096:
                self._prompts.clear()
            self._prompts[text, sizes] = ids
        return ids

    def _image_options(self) -> ImageOptions:
        s = self.settings
        return ImageOptions(
            shortest_image_edge=s["shortest_image_edge"],
            crop_fraction=s["crop_fraction"],
            image_target_size=s["image_target_size"],
            image_crop_size=s["image_crop_size"],
            random_rotation_angle=s["random_rotation_angle"],
            color_jitter_params=s["color_jitter_params"],
            use_albumentations=bool(s["use_albumentations"]),
            letter_box=bool(s.get(_LETTER_BOX, True)),
            extra_augmentation_config=self.extra_augmentation_config,
        )


def _padded(values: np.ndarray, rows: int, columns: int) -> np.ndarray:
    padded = np.zeros((rows, columns), dtype=np.float32)
    padded[: values.shape[0], : values.shape[1]] = values
    return padded


def _action_mask(valid: Any, transform: StateActionTransform, rows: int, columns: int) -> np.ndarray:
    mask = np.zeros((rows, columns), dtype=np.float32)
    if valid is None:
        mask[: transform.action_horizon, : transform.action_dim] = 1
    else:
        mask[: transform.action_horizon, : transform.action_dim] = np.asarray(valid, dtype=np.float32)[:, None]
    return mask


def _checked_frames(images: Mapping[str, np.ndarray], key: str, frames: int) -> np.ndarray:
    if key not in images:
        raise DataError(f"camera {key!r} is missing; there are {', '.join(map(repr, images)) or 'none'}")
    pictures = np.asarray(images[key])
    if (
        pictures.dtype != np.uint8
        or pictures.ndim != 4
        or pictures.shape[0] != frames
        or pictures.shape[3] != 3
        or 0 in pictures.shape
    ):
        raise DataError(
            f"pictures of camera {key!r} are {pictures.dtype} {list(pictures.shape)} instead of uint8 [{frames}, height, width, 3] (RGB)"
        )
    return pictures


def _pixels(pictures: Sequence[np.ndarray]) -> torch.Tensor | list[torch.Tensor]:
    if len({picture.shape for picture in pictures}) == 1:
        return torch.from_numpy(pixel_values(pictures))
    return [torch.from_numpy(pixel_values([picture])) for picture in pictures]


def _sizes(transform: StateActionTransform) -> str:
    state = ", ".join(k.key for k in transform.state_keys)
    action = ", ".join(k.key + (" relative" if k.reference is not None else "") for k in transform.action_keys)
    return f"{transform.state_dim} state dims ({state}), {transform.action_dim} action dims ({action}), horizon {transform.action_horizon}"


def _plain_statistics(statistics: Mapping[str, Any]) -> dict[str, Any]:
    """Statistics as plain JSON data, whatever arrays they were given in; only the parts that the reference knows."""

    def plain(value: Any) -> Any:
        if isinstance(value, Mapping):
            return {key: plain(entry) for key, entry in value.items()}
        return np.asarray(value, dtype=np.float64).tolist()

    return {part: plain(statistics[part]) for part in ("state", "action", "relative_action") if part in statistics}


def _read(directory: Path, name: str) -> dict[str, Any]:
    path = directory / name
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigurationError(f"{directory} is no GR00T N1.6 checkpoint: it has no {name}") from None
    except ValueError as error:
        raise ConfigurationError(f"{path} is no JSON ({error}); fetch or make the checkpoint again") from None
    if not isinstance(content, dict):
        raise ConfigurationError(
            f"{path} holds {type(content).__name__}, not a map; fetch or make the checkpoint again"
        )
    return content


def _write(path: Path, content: Mapping[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2), encoding="utf-8")
