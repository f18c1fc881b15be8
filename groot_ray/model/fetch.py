"""Base models: from the hub or a folder to one folder with all that finetuning needs, weights and tokenizer."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

from groot_ray.errors import ConfigurationError
from groot_ray.model.family import CONFIG, checkpoint_patterns, family_of


def fetch_model(
    model: str | Path,
    folder: Path,
    *,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    cache: Path | None = None,
) -> None:
    """Bring a base model and its tokenizer into `folder` (created if missing; files of the same name are replaced).

    Args:
        model: hub repository (``nvidia/GR00T-N1.6-3B``) or folder of a checkpoint.
        revision: branch, tag or commit of a hub repository.
        tokenizer: hub repository or folder with the vocabulary; the model's own where it has one, else its family's
            default.
        cache: the hub library's cache folder for the tokenizer's files.

    Raises:
        ConfigurationError: model or tokenizer does not exist, is not accessible, or is not of a known family.
        ServiceUnavailableError: the hub does not answer.
    """
    source = Path(model).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        check_model(source, str(model))
        _copy(source, folder)
    else:
        from groot_ray.hub import fetch_files

        fetch_files(str(model), checkpoint_patterns(), revision=revision, folder=folder, what="the base model")
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        check_model(folder, str(model))
    family_of(folder).fetch_tokenizer(folder, tokenizer, cache)


def locate_model(model: str | Path, *, revision: str | None = None, cache: Path | None = None) -> Path:
    """The folder of a base model: the given folder, or the hub's files in its cache, fetched where they are missing.

    Nothing is copied. The tokenizer is not part of it (see `ModelFamily.load_processor`). Errors as for `fetch_model`.
    """
    source = Path(model).expanduser()
    if not source.is_dir():
        from groot_ray.hub import fetch_files

        source = fetch_files(str(model), checkpoint_patterns(), revision=revision, cache=cache, what="the base model")
    check_model(source, str(model))
    return source


def check_model(folder: Path, name: str) -> None:
    """Check that a folder holds the files of a checkpoint; `name` names it in errors.

    Raises:
        ConfigurationError: a file is missing, or no family has the model's type.
    """
    if not (folder / CONFIG).is_file():
        raise ConfigurationError(
            f"{name} is not a checkpoint: it has no {CONFIG}; name a folder or repository with {CONFIG} and weights"
        )
    family = family_of(folder)
    needed = ", ".join(family.required_files)
    for file in family.required_files:
        if not (folder / file).is_file():
            raise ConfigurationError(
                f"{name} is not a {family.title} checkpoint: it has no {file}; name a folder or repository with "
                f"{needed} and weights"
            )
    if not any(folder.glob("model*.safetensors")):
        raise ConfigurationError(f"{name} has no weights (model*.safetensors); fetch it again")


def _copy(source: Path, folder: Path) -> None:
    patterns = checkpoint_patterns()
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source).as_posix()
        if path.is_file() and any(
            fnmatch(relative, pattern) and relative.count("/") == pattern.count("/") for pattern in patterns
        ):
            target = folder / relative
            if target.exists() and target.samefile(path):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
