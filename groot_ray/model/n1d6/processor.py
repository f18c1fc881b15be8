"""The processor of GR00T N1.6: samples in the robot's units to the model's batches, and the model's actions back to the
robot's units.

It is composed of the checkpoint's files (`processor_files`), its embodiment tags (`shared/embodiments`), the
transforms of images and text, and `Collate`. The tokenizer is kept beside the files in ``tokenizer/``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from groot_ray.errors import ConfigurationError, DataError, did_you_mean
from groot_ray.model.n1d6.collate import Collate
from groot_ray.model.n1d6.config import MODEL_TYPE
from groot_ray.model.n1d6.pixels import smart_resize
from groot_ray.model.n1d6.processor_files import DEFAULTS, LETTER_BOX, PUBLIC, ProcessorFiles
from groot_ray.model.n1d6.prompt import Prompt
from groot_ray.model.n1d6.tags import EMBODIMENT_TAGS
from groot_ray.model.n1d6.tokens import QWEN3
from groot_ray.model.shared.camera_images import CameraImages, CameraMasks
from groot_ray.model.shared.embodiments import Embodiments, TagTransforms
from groot_ray.model.shared.image_pipelines import ImageOptions, ImagePipelines
from groot_ray.model.shared.modality import ModalityConfigs
from groot_ray.model.shared.protocols import Limits
from groot_ray.model.shared.state_action import Switches
from groot_ray.model.shared.tokenizer import FOLDER, TINY, Tokenizer, build_tokenizer, has_tokenizer
from groot_ray.model.shared.transform import Signal

Features = dict[str, Any]


class Processor:
    """All processing of one checkpoint, for each of its embodiment tags; see `groot_ray.model.family.Processor`.

    Attributes:
        settings: ``processor_kwargs`` of ``processor_config.json`` without ``modality_configs``.
        extra_augmentation_config: augmentation of masked regions; used in training and not saved, as in the reference.
    """

    model_type = MODEL_TYPE

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
        self.settings: dict[str, Any] = {**DEFAULTS, **settings}
        own = {tag.value: tag.id for tag in EMBODIMENT_TAGS.values()}
        ids = {**embodiment_ids, **{k: v for k, v in own.items() if k not in embodiment_ids}}
        limits, switches = _limits(self.settings), _switches(self.settings)
        self.embodiments = Embodiments(modality_configs, statistics, ids, limits, switches)
        self.extra_augmentation_config = extra_augmentation_config
        self.images = ImagePipelines.of(_image_options(self.settings, extra_augmentation_config))
        self.prompt = Prompt(formalized=bool(self.settings["formalize_language"]))
        self._tokenizer = tokenizer
        self._collate: Collate | None = None

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

        Raises:
            ConfigurationError: there is no such setting.
        """
        for name in settings:
            if name not in DEFAULTS:
                raise ConfigurationError(
                    f"{name!r} is not a setting of the processor{did_you_mean(name, DEFAULTS)}; there are "
                    f"{', '.join(DEFAULTS)}"
                )
        return cls({**PUBLIC, **settings}, {}, {}, {}, tokenizer, extra_augmentation_config=extra_augmentation_config)

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
            tokenizer: see `build_tokenizer`; the checkpoint's own by default, else Qwen3's from the hub. Read at first
                use.

        Raises:
            ConfigurationError: a file is missing or is not of GR00T N1.6.
        """
        directory = Path(directory)
        files = ProcessorFiles.read(directory)
        replaced = {
            "random_rotation_angle": random_rotation_angle,
            "color_jitter_params": None if color_jitter_params is None else dict(color_jitter_params),
            "use_relative_action": use_relative_action,
        }
        settings = {**files.settings, **{key: value for key, value in replaced.items() if value is not None}}
        if tokenizer is None:
            tokenizer = directory if has_tokenizer(directory) else QWEN3.repository
        return cls(
            settings,
            files.modality_configs,
            files.statistics,
            files.ids,
            tokenizer,
            extra_augmentation_config=extra_augmentation_config,
        )

    def save(self, directory: Path | str) -> None:
        """Write the three files, as the reference writes and reads them, and ``tokenizer/``."""
        directory = Path(directory)
        ProcessorFiles(self.settings, self.modality_configs, self.statistics, self.embodiment_ids).write(directory)
        self.tokenizer.save(directory / FOLDER)

    @property
    def tokenizer(self) -> Tokenizer:
        """The tokenizer, read (or fetched from the hub) at first use."""
        if not isinstance(self._tokenizer, Tokenizer):
            self._tokenizer = build_tokenizer(self._tokenizer, QWEN3)
        return self._tokenizer

    def prepare(self) -> None:
        """Read the tokenizer now, or fetch it."""
        _ = self.tokenizer

    def __getstate__(self) -> dict[str, Any]:
        self.prepare()  # its folder may not exist where the copy is unpickled
        return {**self.__dict__, "_collate": None}

    @property
    def modality_configs(self) -> dict[str, Any]:
        """Plain configuration by tag value (``gr1``), as in the file; `configs` returns a checked one."""
        return self.embodiments.modality_configs

    @property
    def statistics(self) -> dict[str, Any]:
        """``{tag value: {state|action|relative_action: {key: {min, max, mean, std, q01, q99}}}}``."""
        return self.embodiments.statistics

    @property
    def embodiment_ids(self) -> dict[str, int]:
        """Number of each tag's weights in the action head, by tag value."""
        return self.embodiments.ids

    @property
    def tags(self) -> list[str]:
        """NAMES of the tags that can be used: those with a modality configuration and statistics."""
        return self.embodiments.tags

    def configs(self, tag: str) -> ModalityConfigs:
        """The checked modality configuration of a tag, by name or value."""
        return self.embodiments.configs(tag)

    def dims(self, tag: str) -> tuple[int, int, int]:
        """State dims (sines and cosines counted), action dims and action horizon of a tag."""
        return self.embodiments.dims(tag)

    def set_embodiment(self, tag: str, modality_configs: Mapping[str, Any], statistics: Mapping[str, Any]) -> str:
        """Use a dataset's modality configuration and statistics for a tag; see `Embodiments.set`."""
        return self.embodiments.set(tag, modality_configs, statistics)

    def process(self, sample: Mapping[str, Any], train: bool, rng: np.random.Generator | None = None) -> Features:
        """One sample in raw units to the model's numbers.

        Args:
            sample: ``images`` {camera: uint8 [Tv, H, W, 3]}, ``state`` {key: float32 [Ts, D]}, ``action`` {key: float32
                [H, D]} or None, ``language`` text, ``tag``; optionally ``action_valid`` bool [H] (False: the step does
                not count in the loss) and ``masks`` {camera: integer [Tv, H, W]}.
            train: augment images and require an action.
            rng: source of the augmentation; one random image draw per sample, whatever the number of frames and
                cameras.

        Returns:
            ``state`` float32 [Ts, max_state_dim], ``embodiment_id`` int, ``text`` (prompt before expansion), ``images``
            uint8 [h, w, 3] each (all cameras of the first frame, then of the next), ``pixels`` the same in the size
            that the model takes, and, where the sample has an action, ``action`` and ``action_mask`` float32
            [max_action_horizon, max_action_dim].

        Raises:
            DataError: a key is missing, has the wrong shape, or is not finite.
        """
        tag = sample["tag"]
        transforms = self.embodiments.transforms(tag)
        features: Features = {
            **_state_and_action(sample, transforms, train),
            "embodiment_id": self.embodiments.id_of(tag),
        }
        features["images"] = self._augmented(sample, train, rng)
        features["pixels"] = [smart_resize(image) for image in features["images"]]
        if not isinstance(sample["language"], str):
            kind = type(sample["language"]).__name__
            raise DataError(f"the instruction of tag {transforms.unpadded.name} is {kind}, not text; check the tasks")
        features["text"] = self.prompt(sample["language"], len(features["images"]))
        return features

    def collate(self, features: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
        """Features of B samples to a batch of tensors for the model; see `Collate`."""
        if self._collate is None:
            self._collate = Collate(self.tokenizer)
        return self._collate(features)

    def decode_action(
        self, action: np.ndarray | torch.Tensor, tag: str, states: Mapping[str, np.ndarray] | None = None
    ) -> dict[str, np.ndarray]:
        """The model's action [B, max_action_horizon, max_action_dim] in the robot's units: float32 [B, H, D] by key,
        absolute.

        `states` holds the raw states [B, Ts, D] by key that RELATIVE actions start from.

        Raises:
            DataError: a state that is needed is missing or has the wrong shape.
        """
        if isinstance(action, torch.Tensor):
            action = action.detach().float().cpu().numpy()
        return self.embodiments.transforms(tag).decode(action, states)

    def _augmented(self, sample: Mapping[str, Any], train: bool, rng: np.random.Generator | None) -> list[np.ndarray]:
        video = self.configs(sample["tag"])["video"]
        images = CameraImages.of(video)(sample["images"])
        if not train:
            return self.images.evaluate(images)
        masks = sample.get("masks")
        masks = None if masks is None else CameraMasks.of(video)(masks)
        return self.images.train(images, rng if rng is not None else np.random.default_rng(), masks)


def _state_and_action(sample: Mapping[str, Any], transforms: TagTransforms, train: bool) -> Features:
    state = transforms.unpadded.check_state(sample["state"])
    features: Features = {"state": transforms.state(Signal(state)).joined}
    action = sample.get("action")
    if action is not None:
        features["action"] = transforms.action(Signal(action, state)).joined
        features["action_mask"] = transforms.action_mask(sample.get("action_valid"))
    elif train:
        raise DataError(
            f"a training sample of tag {transforms.unpadded.name} has no action; check the modality configuration"
        )
    return features


def _limits(settings: Mapping[str, Any]) -> Limits:
    return Limits(settings["max_state_dim"], settings["max_action_dim"], settings["max_action_horizon"])


def _switches(settings: Mapping[str, Any]) -> Switches:
    return Switches(
        use_percentiles=bool(settings["use_percentiles"]),
        clip_outliers=bool(settings["clip_outliers"]),
        sin_cos_states=bool(settings["apply_sincos_state_encoding"]),
        relative_actions=bool(settings["use_relative_action"]),
    )


def _image_options(settings: Mapping[str, Any], extra_augmentation_config: Mapping[str, Any] | None) -> ImageOptions:
    return ImageOptions(
        shortest_image_edge=settings["shortest_image_edge"],
        crop_fraction=settings["crop_fraction"],
        image_target_size=settings["image_target_size"],
        image_crop_size=settings["image_crop_size"],
        random_rotation_angle=settings["random_rotation_angle"],
        color_jitter_params=settings["color_jitter_params"],
        use_albumentations=bool(settings["use_albumentations"]),
        letter_box=bool(settings.get(LETTER_BOX, True)),
        extra_augmentation_config=extra_augmentation_config,
    )
