"""Keys: short names of results; equal inputs and options give equal keys.

A stage's key hashes the keys of its inputs, its result options and its format. Operational options (`result_options`
leaves them out), locations and times enter no key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from groot_ray.experiment.stages import StageDeclaration

LENGTH = 16  # hexadecimal digits: 64 bits keep millions of keys distinct


def canonical(value: Any) -> bytes:
    """JSON of `value`, independent of the order of mappings; raises ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of `value`, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def stage_key(stage: StageDeclaration, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The key of a stage's result.

    Args:
        inputs: keys of its inputs, by name.
        options: options that change the result, as plain JSON data.
    """
    content = {"stage": stage.name, "format": stage.format, "inputs": dict(inputs), "options": dict(options)}
    return digest(content)[:LENGTH]
