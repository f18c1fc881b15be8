"""The experiment document as pydantic models.

One file describes an experiment: ``experiment:`` (what is computed) and, optionally, ``cluster:`` (where). The same
file serves ``groot-ray run``, ``groot-ray submit`` and ``helm install -f``; the command-line flags, the JSON schema,
the chart's values and the reference documentation are generated from these classes, so an option is defined once.

Every field is either a *result option*, which enters the key of the stages that depend on it, or *operational*
(workers, caches, logs, endpoints): it cannot change what is computed and enters no key.
"""

from __future__ import annotations

import math
from typing import Annotated, Any, Literal, Union

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    WithJsonSchema,
    field_validator,
    model_validator,
)

from groot_ray.errors import ConfigurationError
from groot_ray.field_types import (
    BILLION,
    Checked,
    Episodes,
    PositiveSeed,
    Seed,
    Step,
)
from groot_ray.model.family import families, family_with_size

DEFAULT_STORAGE = "./outputs"
DEFAULT_CACHE = "~/.cache/groot_ray"  # local copies of remote files
Count = Annotated[int, Field(ge=0, le=BILLION, strict=True)]
Share = Annotated[float, Field(gt=0.0, lt=1.0, strict=True)]
MOST_WORKERS = 10_000
JITTER = {"brightness": 100.0, "contrast": 100.0, "saturation": 100.0, "hue": 0.5}  # largest changes


def operational(default: Any, description: str, **rules: Any) -> Any:
    """A field that cannot change a result, so it enters no stage key."""
    return Field(default, description=description, json_schema_extra={"operational": True}, **rules)


class Strict(Checked):
    """Base of all parts of the document: unknown keys are errors, assignments are checked."""

    model_config = ConfigDict(validate_assignment=True, populate_by_name=True)


class StorageOptions(Strict):
    """Where the results of the experiment are kept."""

    uri: str = operational(DEFAULT_STORAGE, "folder or s3://bucket/prefix; each experiment has its own folder in it")
    endpoint: str | None = operational(
        None, "S3 endpoint (MinIO, Ceph ...); AWS_ENDPOINT_URL_S3 and AWS_ENDPOINT_URL in the environment win"
    )
    region: str | None = operational(None, "S3 region; AWS_REGION in the environment wins")
    cache: str = operational(
        DEFAULT_CACHE, "folder on each machine for local copies of datasets, models and checkpoints"
    )


class SourceOptions(Strict):
    """The robot's recorded demonstrations (LeRobot v2.0 or v2.1)."""

    uri: str = Field(description="folder, s3://bucket/prefix, or a dataset of the hub (hf://org/name or org/name)")
    revision: str | None = Field(None, description="branch, tag or commit of a hub dataset")
    episodes: Episodes | None = Field(None, description="use only these episode numbers of the source")


class ConversionOptions(Strict):
    """How an episode is converted: sampling in time, image size and codec."""

    fps: float = Field(
        20.0, ge=0.01, le=1000, description="frames per second of the converted dataset (GR00T was pretrained at 20)"
    )
    resample: Literal["index", "linspace", "timestamp"] = Field(
        "index",
        description="index: min(int((i / fps) * source_fps), n - 1); "
        "linspace: n * fps / source_fps points from first to last frame; "
        "timestamp: nearest recorded timestamp, for recordings with dropped frames",
    )
    resolution: int = Field(256, ge=32, le=4096, multiple_of=2, description="edge of the square image in pixels")
    codec: Literal["h264", "mp4v", "hevc", "av1"] = Field("h264", description="video codec of the converted dataset")
    gop: int = Field(
        2, ge=1, le=10_000, description="distance of key frames; 2 lets training read single frames quickly"
    )
    quality: int = Field(
        23, ge=0, le=51, description="constant rate factor (h264, hevc, av1); smaller is better and larger"
    )
    skip_bad: bool = Field(False, description="report broken episodes and leave them out instead of stopping")
    workers: int | None = operational(
        None, "parallel conversion tasks; all CPUs of the Ray cluster when not given", ge=1, le=100_000
    )


class SplitOptions(Strict):
    """Which episodes train, validate and test. A whole number is a count, a fraction a share."""

    train: Count | Share | None = Field(None, description="episodes for training; all that are left when not given")
    validation: Count | Share = Field(
        0, description="episodes for choosing a checkpoint; cut from train where train names all"
    )
    test: Count | Share = Field(0, description="episodes that only the final evaluation sees")
    seed: PositiveSeed | None = Field(
        None, description="shuffle the episodes with this seed before cutting; in order when not given"
    )

    @field_validator("train", "validation", "test", mode="before")
    @classmethod
    def _count_or_share(cls, value: Any) -> Any:
        wrong = isinstance(value, bool | str) or (isinstance(value, float) and not 0 < value < 1)
        if wrong or (isinstance(value, int) and value < 0):
            raise ValueError(
                "give a whole number of episodes, or a share between 0 and 1; "
                "train takes all that are left when it is not given"
            )
        return value


def _known_size(name: str) -> str:
    """The name of a size; pydantic turns the ValueError for an unknown one into a sentence with the key."""
    try:
        family_with_size(name)
    except ConfigurationError as error:
        raise ValueError(str(error)) from None
    return name


ModelSize = Annotated[
    str,
    AfterValidator(_known_size),
    WithJsonSchema({"type": "string", "enum": [size for family in families() for size in family.sizes]}),
]


class ModelOptions(Strict):
    """The model that finetuning starts from."""

    base: str | None = Field(
        "nvidia/GR00T-N1.6-3B",
        description="hub repository, folder or s3:// URI of a GR00T N1.6 checkpoint; "
        "null starts from fresh weights of `size`",
    )
    revision: str | None = Field(None, description="branch, tag or commit of a hub repository")
    size: ModelSize = Field("3b", description="architecture of fresh weights; tiny runs on a laptop")
    tokenizer: str | None = Field(
        None,
        description="hub repository, folder or URI of the Qwen3 vocabulary; taken from the checkpoint where it has one",
    )
    seed: Seed = Field(0, description="seed of fresh weights")


Workers = Annotated[int, Field(ge=1, le=MOST_WORKERS)]


def _from_least_to_most(value: Any) -> Any:
    if isinstance(value, tuple) and value[0] > value[1]:
        raise ValueError(f"the range {list(value)} is upside down; give [min, max]")
    return value


WorkerRange = Annotated[
    Union[Annotated[int, Field(ge=0, le=MOST_WORKERS)], tuple[Workers, Workers]], AfterValidator(_from_least_to_most)
]


def _plain(value: Any) -> Any:
    """Check that a free-form value is plain JSON: no dates, no infinite numbers, names are text."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if not isinstance(name, str):
                raise ValueError(f"the key {name!r} is not text; put it in quotes")
            _plain(inner)
    elif isinstance(value, list):
        for inner in value:
            _plain(inner)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{value} is not a finite number")
    elif value is not None and not isinstance(value, str | bool | int | float):
        raise ValueError(f"a {type(value).__name__} is neither a number nor text; put it in quotes")
    return value


PlainMapping = Annotated[dict[str, Any], AfterValidator(_plain)]


class TrainingOptions(Strict):
    """Finetuning, under the names and defaults of NVIDIA's launcher where it has the option."""

    learning_rate: float = Field(1e-4, gt=0, le=100, description="peak learning rate of AdamW")
    global_batch_size: int = Field(
        64, ge=1, le=1_000_000, description="samples per optimizer step over all workers and accumulation steps"
    )
    gradient_accumulation_steps: int = Field(
        1, ge=1, le=100_000, description="micro-batches per optimizer step and worker"
    )
    max_steps: Step = Field(10000, description="optimizer steps")
    warmup_ratio: float = Field(
        0.05, ge=0, lt=1, description="share of the steps in which the learning rate rises linearly"
    )
    weight_decay: float = Field(1e-5, ge=0, le=100, description="decoupled weight decay")
    max_grad_norm: float = Field(1.0, gt=0, le=1e9, description="gradients are clipped to this global norm")
    seed: Seed = Field(42, description="order of samples, noise, augmentation and dropout")
    tune_llm: bool = Field(False, description="train the whole language model")
    tune_visual: bool = Field(False, description="train the vision tower and its connector")
    tune_projector: bool = Field(True, description="train state/action encoders, decoder and positions")
    tune_diffusion_model: bool = Field(True, description="train the diffusion transformer")
    tune_vlln: bool = Field(True, description="train the layer norm between backbone and action head")
    tune_top_llm_layers: int | None = Field(
        None, ge=0, le=1000, description="train the last n language layers; the checkpoint's value when not given (4)"
    )
    state_dropout_prob: float = Field(0.0, ge=0, le=1, description="probability of hiding the state of a sample")
    random_rotation_angle: float | None = Field(
        None, ge=0, le=180, description="rotate images by up to this many degrees"
    )
    color_jitter_params: dict[str, Annotated[float, Field(ge=0, le=100)]] | None = Field(
        None, description="brightness, contrast, saturation, hue"
    )
    extra_augmentation_config: PlainMapping | None = Field(
        None, description="augmentation of masked regions, in the form of NVIDIA's launcher"
    )
    modality_config_path: str | None = Field(
        None, description="NVIDIA's modality configuration (python file) in place of the embodiment's"
    )
    precision: Literal["auto", "bf16", "fp32"] = Field(
        "auto", description="auto: bf16 autocast on a GPU, fp32 on a CPU"
    )
    tail: Literal["drop", "mask"] = Field(
        "drop",
        description="last frames of an episode: drop them as the reference does, or repeat the last action and mask it",
    )
    compile: Literal["auto", "off", "on"] = operational(
        "off",
        "compiled training step in CUDA graphs: auto uses it where GPU, precision and workers allow it; on demands it. "
        "Same mathematics, other rounding and dropout masks",
    )
    save_steps: Step = operational(1000, "steps between checkpoints")
    save_total_limit: Step = operational(5, "number of newest checkpoints that are kept")
    keep_steps: list[Step] = operational(
        [], "checkpoints of these steps are saved and kept, regardless of save_total_limit", max_length=10_000
    )
    recovery_interval: float = operational(
        120.0,
        "seconds between recovery checkpoints, which only serve to resume after a failure; 0 turns them off",
        ge=0,
        le=BILLION,
    )
    num_workers: WorkerRange = operational(
        1,
        "training processes, one per GPU; [min, max] is elastic; 0 trains inside the command's own process (one "
        "machine only): it starts fastest, and a crash ends the command",
    )
    use_gpu: bool | None = operational(None, "reserve a GPU for each worker; by default if the cluster has GPUs")
    dataloader_num_workers: int = operational(2, "loader threads of each worker", ge=0, le=1000)
    frame_cache_gb: float = operational(
        1.0, "gigabytes of decoded frames that each worker keeps in memory", ge=0, le=100_000
    )
    logging_steps: Step = operational(10, "steps between log lines")
    use_wandb: bool = operational(False, "also report to Weights & Biases")
    wandb_project: str = operational("finetune-gr00t-n1d6", "project at Weights & Biases")
    experiment_name: str | None = operational(None, "name of the run in logs and trackers")

    @field_validator("color_jitter_params")
    @classmethod
    def _known_jitter(cls, value: dict[str, float] | None) -> dict[str, float] | None:
        for key, change in (value or {}).items():
            if key not in JITTER:
                raise ValueError(f"{key!r} is not a color jitter parameter; there are {', '.join(JITTER)}")
            if change > JITTER[key]:
                raise ValueError(f"{key} is {change:g}; use at most {JITTER[key]:g}")
        return value

    @property
    def workers(self) -> tuple[int, int]:
        """Smallest and largest number of workers."""
        n = self.num_workers
        return (n, n) if isinstance(n, int) else n

    @model_validator(mode="after")
    def _batch_is_divisible(self) -> TrainingOptions:
        if self.global_batch_size < self.gradient_accumulation_steps:
            raise ValueError(
                f"global_batch_size {self.global_batch_size} is smaller than "
                f"gradient_accumulation_steps {self.gradient_accumulation_steps}"
            )
        return self


class EvaluationOptions(Strict):
    """Open-loop evaluation of checkpoints on recorded episodes."""

    split: Literal["test", "validation", "train"] = Field("test", description="which part of the converted dataset")
    checkpoints: Literal["last", "all"] | Annotated[list[Step], Field(min_length=1, max_length=10_000)] = Field(
        "last", description="steps to evaluate and compare"
    )
    traj_ids: Episodes | None = Field(None, description="episodes of the part; all when not given")
    steps: Step | None = Field(200, description="frames per trajectory; null for all")
    action_horizon: int = Field(
        16, ge=1, le=10_000, description="predict every so many frames, and use as many predicted steps"
    )
    denoising_steps: int | None = Field(
        None, ge=1, le=10_000, description="Euler steps of the flow; the checkpoint's value when not given (4)"
    )
    thresholds: list[Annotated[float, Field(ge=0, le=BILLION)]] = Field(
        [0.05, 0.1, 0.2], min_length=1, max_length=100, description="thresholds of Success@X and Accuracy@X"
    )
    seed: PositiveSeed = Field(0, description="seed of the denoising noise")
    baselines: bool = Field(True, description="also evaluate the untrained model and holding the current pose")
    batch_size: int = operational(8, "observations per forward pass", ge=1, le=100_000)
    plots: bool = operational(True, "write a plot for each trajectory")

    @field_validator("checkpoints", mode="before")
    @classmethod
    def _one_step_is_a_list(cls, value: Any) -> Any:
        return [value] if isinstance(value, int) and not isinstance(value, bool) else value


class Experiment(Strict):
    """What is computed, from a robot's recordings to an evaluated checkpoint."""

    name: str = Field(
        description="name of the experiment: its folder in storage and its Helm release",
        pattern=r"^[a-z0-9]([-a-z0-9]{0,51}[a-z0-9])?$",
    )
    storage: StorageOptions = Field(default_factory=StorageOptions)
    source: SourceOptions
    embodiment: str | PlainMapping = Field(
        description="preset name, path of a YAML description, or the description itself"
    )
    embodiment_tag: str | None = Field(
        None, description="embodiment tag (GR1, NEW_EMBODIMENT ...); the embodiment's own when not given"
    )
    conversion: ConversionOptions = Field(default_factory=ConversionOptions)
    splits: SplitOptions = Field(default_factory=SplitOptions)
    model: ModelOptions = Field(default_factory=ModelOptions)
    training: TrainingOptions = Field(default_factory=TrainingOptions)
    evaluation: EvaluationOptions = Field(default_factory=EvaluationOptions)

    @field_validator("name", mode="before")
    @classmethod
    def _name_is_text(cls, value: Any) -> Any:
        return str(value) if isinstance(value, int) else value


def result_options(options: BaseModel) -> dict[str, Any]:
    """The options that can change a result, as plain JSON data; stage keys hash them."""
    kept: dict[str, Any] = {}
    for name, info in type(options).model_fields.items():
        extra = info.json_schema_extra
        if isinstance(extra, dict) and extra.get("operational"):
            continue
        value = getattr(options, name)
        kept[name] = result_options(value) if isinstance(value, BaseModel) else value
    return kept
