"""Base models: from the hub or a folder to one folder that holds all that finetuning needs, weights and tokenizer."""

from __future__ import annotations

import shutil
from fnmatch import fnmatch
from pathlib import Path

from groot_ray.errors import ConfigurationError
from groot_ray.model.shared.tokenizer import DEFAULT_TOKENIZER, FOLDER, build_tokenizer, has_tokenizer

# Weights as safetensors only: other formats run code when they are read. An optimizer's state stays behind.
MODEL_FILES = (
    "config.json",
    "model*.safetensors",
    "model.safetensors.index.json",
    "processor_config.json",
    "statistics.json",
    "embodiment_id.json",
    f"{FOLDER}/*",
    "LICENSE*",
    "README.md",
)
_NEEDED = ("config.json", "processor_config.json", "statistics.json")


def fetch_model(
    model: str | Path,
    folder: Path,
    *,
    revision: str | None = None,
    tokenizer: str | Path | None = None,
    cache: Path | None = None,
) -> None:
    """Bring a base model and its tokenizer into `folder` (made if need be; files of the same name are replaced).

    Args:
        model: hub repository (``nvidia/GR00T-N1.6-3B``) or folder of a GR00T N1.6 checkpoint.
        revision: branch, tag or commit of a hub repository.
        tokenizer: hub repository or folder with Qwen3's vocabulary; the model's own where it has one, else ``Qwen/Qwen3-1.7B``.
        cache: the hub library's cache folder for the tokenizer's files.

    Raises:
        ConfigurationError: model or tokenizer is not there, not allowed or not of GR00T N1.6.
        ServiceUnavailableError: the hub does not answer.
    """
    source = Path(model).expanduser()
    folder.mkdir(parents=True, exist_ok=True)
    if source.is_dir():
        check_model(source, str(model))
        _copy(source, folder)
    else:
        from groot_ray.model.hub import fetch_files

        fetch_files(str(model), MODEL_FILES, revision=revision, folder=folder, what="the base model")
        shutil.rmtree(folder / ".cache", ignore_errors=True)
        check_model(folder, str(model))
    if tokenizer is not None or not has_tokenizer(folder):
        build_tokenizer(tokenizer or DEFAULT_TOKENIZER, cache=cache).save(folder / FOLDER)


def locate_model(model: str | Path, *, revision: str | None = None, cache: Path | None = None) -> Path:
    """The folder of a base model: itself when it is one, else the hub's files in the cache, fetched when they are not there.

    Nothing is copied; the tokenizer is not part of it (see `Processor.from_directory`). Errors as for `fetch_model`.
    """
    source = Path(model).expanduser()
    if not source.is_dir():
        from groot_ray.model.hub import fetch_files

        source = fetch_files(str(model), MODEL_FILES, revision=revision, cache=cache, what="the base model")
    check_model(source, str(model))
    return source


def check_model(folder: Path, name: str) -> None:
    """Check that a folder holds the files of a GR00T checkpoint.

    Raises:
        ConfigurationError: a file is missing; `name` says in the sentence which model it is.
    """
    for needed in _NEEDED:
        if not (folder / needed).is_file():
            raise ConfigurationError(
                f"{name} is no GR00T N1.6 checkpoint: it has no {needed}; name a folder or repository with {', '.join(_NEEDED)} and weights"
            )
    if not any(folder.glob("model*.safetensors")):
        raise ConfigurationError(f"{name} has no weights (model*.safetensors); fetch it again")


def _copy(source: Path, folder: Path) -> None:
    for path in sorted(source.rglob("*")):
        relative = path.relative_to(source).as_posix()
        if path.is_file() and any(
            fnmatch(relative, pattern) and relative.count("/") == pattern.count("/") for pattern in MODEL_FILES
        ):
            target = folder / relative
            if target.exists() and target.samefile(path):
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(path, target)
