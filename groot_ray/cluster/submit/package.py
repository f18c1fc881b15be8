"""The working directory as one archive that Ray can unpack. The same files give the same bytes and the same name."""

from __future__ import annotations

import fnmatch
import hashlib
import io
import zipfile
from collections.abc import Iterable, Iterator
from pathlib import Path

from groot_ray.errors import ConfigurationError

LIMIT = 100 * 2**20  # Ray keeps packages in the head's memory
EXCLUDES = (
    *(".git", ".venv", "venv", ".tools", "__pycache__", "*.pyc", "node_modules", "*.egg-info"),
    *(".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".cache"),
    *("outputs", "wandb", "runs", "checkpoint-*", "*.safetensors", "*.mp4", "*.parquet", "*.tar", "*.zip"),
    *(".env", "*.pem", "*.key", "credentials*"),
)


def pack(folder: Path, excludes: Iterable[str] = ()) -> tuple[str, bytes]:
    """Zip a folder without the files that no run needs: caches, data, checkpoints, keys.

    Args:
        folder: the working directory.
        excludes: patterns of further names or paths to leave out.

    Returns:
        name of the package, made from its content, and its bytes.

    Raises:
        ConfigurationError: more than 100 MiB are left.
    """
    patterns = [*EXCLUDES, *excludes]
    buffer = io.BytesIO()
    sizes: list[tuple[int, str]] = []
    total = 0
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(_files(folder, folder, patterns)):
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            sizes.append((len(data), name))
            total += len(data)
            if total > LIMIT:
                raise _too_large(folder, sizes)
            info = zipfile.ZipInfo(name)  # a fixed date, so that equal files make an equal package
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (path.stat().st_mode & 0o777) << 16
            archive.writestr(info, data)
    data = buffer.getvalue()
    return f"_ray_pkg_{hashlib.sha256(data).hexdigest()[:16]}.zip", data


def _too_large(folder: Path, sizes: list[tuple[int, str]]) -> ConfigurationError:
    """The error about these files, as (bytes, name); it names the largest."""
    largest = ", ".join(f"{name} ({size / 2**20:.0f} MiB)" for size, name in sorted(sizes, reverse=True)[:3])
    return ConfigurationError(
        f"{folder} has more than {LIMIT // 2**20} MiB without data and checkpoints; "
        f"exclude the largest with --exclude: {largest}"
    )


def _files(folder: Path, root: Path, patterns: list[str]) -> Iterator[Path]:
    for path in folder.iterdir():
        relative = path.relative_to(root).as_posix()
        if any(
            fnmatch.fnmatch(path.name, pattern) or fnmatch.fnmatch(relative, pattern.rstrip("/"))
            for pattern in patterns
        ):
            continue
        if path.is_symlink() and not path.resolve().is_relative_to(root.resolve()):
            continue
        if path.is_dir():
            yield from _files(path, root, patterns)
        elif path.is_file():
            yield path
