"""Loading a policy: from a checkpoint in a folder or in storage to an object that answers observations."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping, Sequence
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from groot_ray.embodiment.images import IMAGES, CameraImage, read_images
from groot_ray.embodiment.load import load_embodiment
from groot_ray.embodiment.schema import Embodiment
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.schema import DEFAULT_CACHE
from groot_ray.json_file import read_json_object
from groot_ray.model.family import DtypePolicy, family_of
from groot_ray.model.shared.tags import resolve_tag
from groot_ray.model.shared.weights import apply_dtype_policy
from groot_ray.policy.policy import Policy
from groot_ray.policy.robot import RobotPolicy
from groot_ray.storage import Location, mirror, open_location
from groot_ray.storage.committed import checked_mirror, own_files, unless_removed

if TYPE_CHECKING:
    from groot_ray.model.shared.network import PolicyNetwork

log = logging.getLogger(__name__)

EMBODIMENT = "embodiment.json"
ONLY_FOR_RESUME = frozenset({"optimizer.safetensors"})  # not fetched for inference


def load_policy(
    checkpoint: Location | Path | str,
    tag: str | None = None,
    device: str | torch.device | None = None,
    *,
    cache: Path | str = DEFAULT_CACHE,
    denoising_steps: int | None = None,
    tokenizer: Path | str | None = None,
    network: PolicyNetwork | None = None,
    checked: bool = False,
) -> Policy:
    """Load a checkpoint as a policy in model dimensions.

    Weights are bfloat16 on a GPU, as in NVIDIA's inference, and float32 on a CPU.

    Args:
        checkpoint: folder or URI with config.json, weights, processor_config.json and statistics.json.
        tag: embodiment tag by name or value; optional where the checkpoint has a single one.
        device: where the network runs; a GPU if there is one.
        cache: local folder for copies of S3 objects.
        denoising_steps: replaces the checkpoint's own number.
        tokenizer: fallback for checkpoints without one (NVIDIA's): hub repository, folder or URI.
        network: replaces the checkpoint's weights, such as by those before finetuning; cast and moved in place.
        checked: the caller has just compared the checkpoint's files with its manifest (`checked_mirror`).

    Raises:
        ConfigurationError: the folder is not a checkpoint, the tag is unknown or ambiguous, or torch sees no GPU.
        DataError: a file is missing, broken, or differs from the checkpoint's manifest.
        TemporaryFailureError: the checkpoint was removed meanwhile.
    """
    location, cache = open_location(checkpoint), Path(cache).expanduser()
    with unless_removed(location) if checked or own_files(location) is not None else nullcontext():
        folder = (mirror if checked else checked_mirror)(location, cache, ONLY_FOR_RESUME)
        return _load(folder, location, tag, device, cache, denoising_steps, tokenizer, network)


def _load(
    folder: Path,
    location: Location,
    tag: str | None,
    device: str | torch.device | None,
    cache: Path,
    denoising_steps: int | None,
    tokenizer: Path | str | None,
    network: PolicyNetwork | None,
) -> Policy:
    """`load_policy` of a checkpoint's local folder."""
    if isinstance(tokenizer, str) and "://" in tokenizer:
        tokenizer = mirror(open_location(tokenizer, location.endpoint, location.region), cache)
    target = inference_device(device)
    family = family_of(folder)
    processor = family.load_processor(folder, tokenizer)
    name = choose_tag(tag, processor.tags, str(folder), processor.embodiment_ids)
    if network is None:
        network = family.load_network(folder, device=target, dtype_policy=inference_dtypes(target))
    else:
        apply_dtype_policy(network, inference_dtypes(target))
        network = network.to(target)
    return Policy(network, processor, name, checkpoint=folder, device=target, denoising_steps=denoising_steps)


def load_robot_policy(
    checkpoint: Location | Path | str,
    tag: str | None = None,
    device: str | torch.device | None = None,
    *,
    embodiment: str | Path | Mapping[str, Any] | Embodiment | None = None,
    resolution: int | None = None,
    cache: Path | str = DEFAULT_CACHE,
    denoising_steps: int | None = None,
    tokenizer: Path | str | None = None,
) -> RobotPolicy:
    """Load a checkpoint as a policy in the robot's own columns and camera frames.

    The checkpoint records the robot and its image sizes; `embodiment` and `resolution` are for those that do not.

    Args:
        embodiment: preset, file or description, for a checkpoint without embodiment.json.
        resolution: edge of the converted dataset's square images in pixels (``conversion.resolution``), for a
            checkpoint without images.json.
        checkpoint, tag, device, cache, denoising_steps, tokenizer: as for `load_policy`.

    Raises:
        ConfigurationError: neither the checkpoint nor the arguments describe the robot or its images, or they
            contradict each other; or as for `load_policy`.
        DataError: a file is missing or broken.
    """
    policy = load_policy(checkpoint, tag, device, cache=cache, denoising_steps=denoising_steps, tokenizer=tokenizer)
    robot = recorded_embodiment(policy.checkpoint)
    if robot is None:
        if embodiment is None:
            raise ConfigurationError(
                f"{policy.checkpoint} does not describe its robot (it has no {EMBODIMENT}); name its embodiment"
            )
        robot = load_embodiment(embodiment)
    elif embodiment is not None and load_embodiment(embodiment) != robot:
        raise ConfigurationError(
            f"{policy.checkpoint} was trained for the embodiment {robot.name!r} in its {EMBODIMENT}, which differs "
            "from the given one; omit the embodiment"
        )
    cameras = policy.modality["video"]["modality_keys"]
    return RobotPolicy(policy, robot, training_images(policy.checkpoint, robot, cameras, resolution))


def recorded_embodiment(checkpoint: Path) -> Embodiment | None:
    """The robot that a checkpoint was finetuned for; None where it does not describe it."""
    file = checkpoint / EMBODIMENT
    return load_embodiment(read_json_object(file, "copy the checkpoint again")) if file.is_file() else None


def training_images(
    checkpoint: Path, robot: Embodiment, cameras: Sequence[str], resolution: int | None
) -> dict[str, CameraImage]:
    """Size and fit of the training images of `cameras`: the checkpoint's record, or `resolution` where it has none.

    Raises:
        ConfigurationError: the size of a camera's images is unknown, or `resolution` contradicts the record.
        DataError: images.json is broken.
    """
    recorded = read_images(checkpoint) or {}
    images = {}
    for camera in robot.cameras:
        if camera.key not in cameras:
            continue
        if camera.key in recorded:
            image = recorded[camera.key]
            if resolution is not None and (image.height, image.width) != (resolution, resolution):
                raise ConfigurationError(
                    f"{checkpoint} was trained on images of {image.height} x {image.width} pixels from camera "
                    f"{camera.key!r}, not {resolution} x {resolution}; omit the resolution"
                )
            images[camera.key] = image
        elif resolution is not None:
            log.warning(
                "%s does not record the size of camera %r's images; using the given %d pixels and the embodiment's "
                "fit %r", checkpoint, camera.key, resolution, camera.fit
            )  # fmt: skip
            images[camera.key] = CameraImage(resolution, resolution, camera.fit)
        else:
            raise ConfigurationError(
                f"{checkpoint} does not record the size of camera {camera.key!r}'s images (earlier versions wrote no "
                f"{IMAGES}); give the resolution of the conversion (conversion.resolution)"
            )
    return images


def choose_tag(tag: str | None, known: Sequence[str], where: str, others: Iterable[str] = ()) -> str:
    """The NAME of the tag to use.

    Args:
        known: tags that the checkpoint can be used with.
        where: the checkpoint, for errors.
        others: tags that exist but that the checkpoint was not trained for.

    Raises:
        ConfigurationError: the checkpoint was not trained for the tag; or no tag is given and it has several or none.
    """
    has = ", ".join(known) or "none"
    if tag is None:
        if len(known) != 1:
            raise ConfigurationError(f"name the embodiment tag with which {where} is to be used; it has {has}")
        return known[0]
    name = resolve_tag(tag, [*others, *known])
    if name not in known:
        raise ConfigurationError(f"{where} was not trained for embodiment tag {name}; it has {has}")
    return name


def inference_device(device: str | torch.device | None) -> torch.device:
    """The given device; without one a GPU if torch sees any, else the CPU.

    Raises:
        ConfigurationError: a GPU is named and torch sees none.
    """
    target = torch.device(device or ("cuda" if torch.cuda.is_available() else "cpu"))
    if target.type == "cuda" and not torch.cuda.is_available():
        raise ConfigurationError(f"device {target}: torch sees no GPU here; omit the device or use cpu")
    return target


def inference_dtypes(device: torch.device) -> DtypePolicy:
    """The dtype of weights in inference: bfloat16 on a GPU, as in NVIDIA's code, and float32 on a CPU."""
    return "bf16" if device.type == "cuda" else "fp32"
