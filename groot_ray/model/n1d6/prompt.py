"""The prompt of GR00T N1.6: one user turn that holds the instruction and a place for each picture."""

from __future__ import annotations

import re
from collections.abc import Sequence

IMAGE_TOKEN = "<IMG_CONTEXT>"
IMAGE_START = "<img>"
IMAGE_END = "</img>"

_START = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_END = "<|im_end|>\n"
_PIXELS_PER_TOKEN = 28 * 28
_PUNCTUATION = re.compile(r"[^\w\s]")


def formalize(instruction: str) -> str:
    """The instruction in lower case and without punctuation, as GR00T was trained (``Put it in, please.`` -> ``put it in please``)."""
    return _PUNCTUATION.sub("", instruction.lower())


def render(instruction: str, pictures: int) -> str:
    """The conversation with one ``<image-k>`` for each of the `pictures`, k counting from 1."""
    return f"{_START}{instruction}{_places(pictures)}{_END}"


def expand(text: str, sizes: Sequence[tuple[int, int]]) -> str:
    """Put a picture's tokens in place of each ``<image-k>`` of a rendered text.

    `sizes` are the pictures' (height, width) in pixels, multiples of 28; a picture has one token for every 28x28 pixels.
    """
    ending = _places(len(sizes)) + _END
    if not text.endswith(ending):
        raise ValueError(f"the text is no prompt for {len(sizes)} pictures")
    pictures = "".join(
        f"<image {k}>{IMAGE_START}{IMAGE_TOKEN * (height * width // _PIXELS_PER_TOKEN)}{IMAGE_END}"
        for k, (height, width) in enumerate(sizes, start=1)
    )
    return text.removesuffix(ending) + pictures + _END


def _places(pictures: int) -> str:
    return "".join(f"<image-{k}>" for k in range(1, pictures + 1))
