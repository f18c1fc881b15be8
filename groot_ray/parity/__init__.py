"""Comparison with recorded outputs of the reference implementation, quantity by quantity, for any folder of that form.

Only cli imports it; it imports model, train's optimizer, dataset and statistics.
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from groot_ray.parity.check import Check

__all__ = ["run"]


def run(fixtures: Path | str, tokenizer: Path | str | None = None) -> list[Check]:
    """Compare everything that the folder `fixtures` holds; see `check.Check`.

    Args:
        fixtures: folder with some of ``model/``, ``data/``, ``dataset/``, ``state_dict_3b.json``.
        tokenizer: folder with the real vocabulary, for prompt tokens; looked for in ``tokenizer`` beside the folder and above when not given.

    Raises:
        ConfigurationError: the folder holds nothing that can be compared.
    """
    from groot_ray.errors import ConfigurationError
    from groot_ray.parity.data import data_checks
    from groot_ray.parity.network import network_checks

    folder = Path(fixtures)
    if not folder.is_dir():
        raise ConfigurationError(f"{str(fixtures)!r} is no folder; give a folder of recorded outputs of the reference")
    checks = [*network_checks(folder), *data_checks(folder, Path(tokenizer) if tokenizer else None)]
    if all(check.ok is None for check in checks):
        raise ConfigurationError(
            f"{str(fixtures)!r} holds nothing to compare: it has none of model/, data/, dataset/, state_dict_3b.json"
        )
    return checks
