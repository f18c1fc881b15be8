"""The recorded prompt of GR00T N1.6: its text and, with the real vocabulary, its tokens."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np

from groot_ray.model.shared.tokenizer import TINY
from groot_ray.parity.check import Check, absent, equal
from groot_ray.parity.recorded import PART, Recorded


def prompt_checks(recorded: Recorded) -> Iterator[Check]:
    """Compare ``data/prompt.json``; without a recorded processor, the settings of a new one apply."""
    theirs = recorded.json("data/prompt.json")
    family = recorded.family
    processor: Any = (
        recorded.processor
        if recorded.has_processor
        else family.new_processor(family.new_config("tiny"), recorded.tokenizer or TINY)
    )
    for mode, text in theirs["texts"].items():
        yield equal(PART, f"prompt text ({mode})", processor.prompt(theirs["raw_text"], text.count("<image-")), text)
    if recorded.tokenizer is None:
        yield absent(PART, "prompt tokens", "no real vocabulary: give it with --tokenizer")
        return
    expected = [token for token, _, count in theirs["run_length_layout"] for _ in range(count)]
    expanded = "".join(text * count for _, text, count in theirs["run_length_layout"])
    ids = processor.tokenizer.encode(expanded)
    yield equal(PART, "prompt tokens", np.asarray(ids), np.asarray(expected), f"{len(expected)} tokens")
