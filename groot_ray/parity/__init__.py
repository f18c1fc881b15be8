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
    """Compare everything in the folder `fixtures`; see `check.Check`.

    Args:
        fixtures: folder with some of ``model/``, ``data/``, ``dataset/``, ``state_dict_3b.json``.
        tokenizer: folder with the real vocabulary, for prompt tokens; default: a folder ``tokenizer`` beside `fixtures`
            or above it.

    Raises:
        ConfigurationError: the folder has nothing to compare.
    """
    from groot_ray.errors import ConfigurationError
    from groot_ray.model.family import default_family, family_of
    from groot_ray.parity.data import data_checks
    from groot_ray.parity.network import network_checks

    folder = Path(fixtures)
    if not folder.is_dir():
        raise ConfigurationError(
            f"{str(fixtures)!r} is not a folder; give a folder of recorded outputs of the reference"
        )
    config = folder / "model" / "config.json"
    family = family_of(config.parent) if config.is_file() else default_family()
    checks = [
        *network_checks(folder, family),
        *data_checks(folder, Path(tokenizer) if tokenizer else None, family),
    ]
    if all(check.ok is None for check in checks):
        raise ConfigurationError(
            f"{str(fixtures)!r} has nothing to compare: it lacks all of model/, data/, dataset/, state_dict_3b.json"
        )
    return checks
