"""Keys: short names for "made from these inputs with these options", equal exactly where the result is.

A stage's key hashes the keys of its inputs, its result options and a format version. Operational options (`result_options` leaves
them out), places and times enter no key.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

LENGTH = 16  # hexadecimal digits: 64 bits tell some million keys apart

# Raised when a stage makes something else from the same inputs and options, so that older results are not taken for new ones.
FORMATS = {"source": 1, "model": 1, "download": 1, "convert": 1, "finetune": 1, "evaluate": 1}


def canonical(value: Any) -> bytes:
    """JSON of `value` that does not depend on the order of mappings; raises ValueError for NaN and infinities."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True, allow_nan=False)
    return text.encode("ascii")


def digest(value: Any) -> str:
    """sha256 of the canonical JSON of `value`, in hexadecimal."""
    return hashlib.sha256(canonical(value)).hexdigest()


def stage_key(stage: str, inputs: Mapping[str, Any], options: Mapping[str, Any]) -> str:
    """The key of a stage's result.

    Args:
        stage: name of the stage; one that is not in `FORMATS` (added by somebody else) has format 1.
        inputs: keys of what it is made from, by name.
        options: options that change the result, as plain JSON data.
    """
    content = {"stage": stage, "format": FORMATS.get(stage, 1), "inputs": dict(inputs), "options": dict(options)}
    return digest(content)[:LENGTH]
