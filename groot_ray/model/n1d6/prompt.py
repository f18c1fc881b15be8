"""The prompt of GR00T N1.6: one user turn with the instruction and a placeholder for each image."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from groot_ray.model.n1d6.tokens import IMAGE_END, IMAGE_START, IMAGE_TOKEN

_START = "<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n<|im_start|>user\n"
_END = "<|im_end|>\n"
_PIXELS_PER_TOKEN = 28 * 28
_PUNCTUATION = re.compile(r"[^\w\s]")


@dataclass(frozen=True)
class Prompt:
    """An instruction to the text of its conversation; `formalized` prompts are lower case without punctuation."""

    formalized: bool

    def __call__(self, instruction: str, images: int) -> str:
        """The conversation about a number of images, with one ``<image-k>`` for each."""
        return render(formalize(instruction) if self.formalized else instruction, images)


def formalize(instruction: str) -> str:
    """The instruction in lower case and without punctuation, as GR00T was trained (``Put it in, please.`` -> ``put it
    in please``).
    """
    return _PUNCTUATION.sub("", instruction.lower())


def render(instruction: str, images: int) -> str:
    """The conversation with one ``<image-k>`` for each of the `images`, k counting from 1."""
    return f"{_START}{instruction}{_places(images)}{_END}"


def expand(text: str, sizes: Sequence[tuple[int, int]]) -> str:
    """Substitute an image's tokens for each ``<image-k>`` of a rendered text.

    `sizes` are the images' (height, width) in pixels, multiples of 28; an image has one token for every 28x28 pixels.
    """
    ending = _places(len(sizes)) + _END
    if not text.endswith(ending):
        raise ValueError(f"the text is not a prompt for {len(sizes)} images")
    images = "".join(
        f"<image {k}>{IMAGE_START}{IMAGE_TOKEN * (height * width // _PIXELS_PER_TOKEN)}{IMAGE_END}"
        for k, (height, width) in enumerate(sizes, start=1)
    )
    return text.removesuffix(ending) + images + _END


def _places(images: int) -> str:
    return "".join(f"<image-{k}>" for k in range(1, images + 1))
