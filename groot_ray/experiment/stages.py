"""The stages of the pipeline, declared once: chart, keys, catalog, checks and commands read these declarations.

Pure data. The code of a stage is `groot_ray/stages/<name>.py`, its command `groot_ray/cli/<name>.py`.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from groot_ray.errors import ConfigurationError, did_you_mean

PARTS = ("train", "validation", "test")  # of a converted dataset
PINS = ("source", "model")  # pinned before a stage starts, not produced by one

Pods = int | Literal["training"]


@dataclass(frozen=True)
class Export:
    """A result that `groot-ray export` copies: the files below `folder` of the stage's result (all of them when empty).

    `folder` may end in `*`, which stands for a number: each such folder is an export under its own name, listed by its
    own manifest.
    """

    name: str
    folder: str = ""

    @property
    def is_pattern(self) -> bool:
        """Whether this stands for any number of folders."""
        return self.folder.endswith("*")

    def matches(self, folder: str) -> bool:
        """Whether a folder's name is this pattern with a number instead of the star."""
        start = self.folder[:-1]
        return self.is_pattern and folder.startswith(start) and folder.removeprefix(start).isdigit()


@dataclass(frozen=True)
class StageDeclaration:
    """A stage of the pipeline.

    Attributes:
        name: also of its command, its module, its folder in storage and its Job.
        help: one line for the list of commands.
        sections: its parts of the experiment document; their result options enter its key.
        after: stages that must be done first.
        inputs: its inputs, as its manifest names them: stages, pins (`PINS`), and inputs that it adds itself.
        reads: parts of the document that belong to other stages and that its command has flags for too.
        format: increased when the stage's output for equal inputs and options changes, so that old results are not
            reused.
        image: image of its pods, `data` (without torch) or `train`.
        cpu: most pods of the CPU group; `training`: as many as training.num_workers needs.
        gpu: most pods of the GPU group.
        exports: results that can be copied to a plain folder.
    """

    name: str
    help: str
    sections: tuple[str, ...]
    after: tuple[str, ...] = ()
    inputs: tuple[str, ...] = ()
    reads: tuple[str, ...] = ()
    format: int = 1
    image: Literal["data", "train"] = "data"
    cpu: Pods = 0
    gpu: Pods = 0
    exports: tuple[Export, ...] = ()


DOWNLOAD = StageDeclaration(
    "download",
    "Fetch or pin the source dataset",
    sections=("source",),
    inputs=("source",),
)
CONVERT = StageDeclaration(
    "convert",
    "Convert a LeRobot dataset to GR00T's layout, with statistics",
    sections=("conversion", "splits"),
    after=(DOWNLOAD.name,),
    inputs=(DOWNLOAD.name,),
    reads=("source",),
    cpu=4,
    exports=tuple(Export(part, part) for part in PARTS),
)
FINETUNE = StageDeclaration(
    "finetune",
    "Finetune GR00T N1.6 on a converted dataset with Ray Train",
    sections=("model", "training"),
    after=(CONVERT.name,),
    inputs=(CONVERT.name, "model"),
    reads=("source", "conversion", "splits"),
    image="train",
    gpu="training",
    exports=(Export("checkpoint-N", "checkpoint-*"),),
)
EVALUATE = StageDeclaration(
    "evaluate",
    "Compare checkpoints open-loop with recorded episodes",
    sections=("evaluation",),
    after=(FINETUNE.name,),
    inputs=(CONVERT.name, FINETUNE.name, "weights"),
    reads=("model",),
    image="train",
    gpu=1,
    exports=(Export("evaluation"),),
)

PIPELINE: tuple[StageDeclaration, ...] = (DOWNLOAD, CONVERT, FINETUNE, EVALUATE)
STAGE_NAMES: tuple[str, ...] = tuple(stage.name for stage in PIPELINE)


def declared(name: str) -> StageDeclaration:
    """The declaration of a stage; raises `ConfigurationError` for an unknown name."""
    check_stage_names([name])
    return PIPELINE[STAGE_NAMES.index(name)]


def check_stage_names(names: Iterable[str], where: str = "") -> None:
    """Raise `ConfigurationError` for an unknown stage; `where`, such as `cluster.stages.`, precedes its name."""
    for name in names:
        if name not in STAGE_NAMES:
            raise ConfigurationError(unknown_stage(name, where))


def unknown_stage(name: str, where: str = "") -> str:
    """The error message for an unknown stage name."""
    return f"{where}{name} is not a stage{did_you_mean(name, STAGE_NAMES)}; the stages are {', '.join(STAGE_NAMES)}"


def pinned_by(pin: str) -> str:
    """The stage that pins the source or the base model: the first one with it as input."""
    return next(stage.name for stage in PIPELINE if pin in stage.inputs)


def exports_of(name: str) -> tuple[Export, ...]:
    """The declared exports of a stage; none for a folder that is not a stage's."""
    return declared(name).exports if name in STAGE_NAMES else ()
