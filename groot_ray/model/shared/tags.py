"""Embodiment tags: the names by which a checkpoint distinguishes robots.

A tag has a name for people and flags (``GR1``), a value that checkpoints are keyed by (``gr1``) and the number of its
own encoder and decoder weights in the action head.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from groot_ray.errors import ConfigurationError, did_you_mean

NEW_EMBODIMENT = "NEW_EMBODIMENT"


@dataclass(frozen=True)
class EmbodimentTag:
    """One tag: `name` on the command line, `value` in checkpoint files, `id` of its weights in the action head."""

    name: str
    value: str
    id: int


def resolve_tag(text: str, known: Iterable[str]) -> str:
    """The NAME of a tag given as name or value, in any case, with ``-`` or ``_``.

    `known` are the tags that there are, by name or value; `NEW_EMBODIMENT` is always one.

    Raises:
        ConfigurationError: there is no such tag; the message lists the existing ones.
    """
    names = list(dict.fromkeys([*(tag.upper() for tag in known), NEW_EMBODIMENT]))
    name = str(text).strip().upper().replace("-", "_")
    if name in names:
        return name
    others = ", ".join(n for n in names if n != NEW_EMBODIMENT) or "none"
    raise ConfigurationError(
        f"there is no embodiment tag {text!r}{did_you_mean(name, names)}; use {NEW_EMBODIMENT} for a robot of your "
        "own, "
        f"or one of the tags that the model knows: {others}"
    )


def tag_value(text: str, known: Iterable[str]) -> str:
    """The value (``gr1``) of a tag in any spelling that `resolve_tag` takes, which is how checkpoint
    files are keyed.
    """
    return resolve_tag(text, known).lower()
