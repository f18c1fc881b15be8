"""What trains, as plain data: the finetuning flags, and which modules of a network each flag means."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class TuneFlags:
    """Which parts train. The last `tune_top_llm_layers` language layers train even where `tune_llm` is false."""

    tune_llm: bool = False
    tune_visual: bool = False
    tune_projector: bool = True
    tune_diffusion_model: bool = True
    tune_vlln: bool = True
    tune_top_llm_layers: int = 4


@dataclass(frozen=True)
class NamedPart:
    """A part of a network.

    Attributes:
        name: for people, such as ``vision tower``.
        paths: dotted names of its modules and parameters in the network; those that a configuration lacks are
            skipped.
        flag: the boolean field of `TuneFlags` that trains it.
    """

    name: str
    paths: tuple[str, ...]
    flag: str
