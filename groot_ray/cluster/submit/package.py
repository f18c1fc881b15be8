"""The working directory as one archive that Ray can unpack: the same files give the same bytes and the same name."""

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
    ".git", ".venv", "venv", ".tools", "__pycache__", "*.pyc", ".mypy_cache", ".ruff_cache", ".pytest_cache", ".hypothesis", ".cache", "node_modules",
    "*.egg-info", "outputs", "wandb", "runs", "checkpoint-*", "*.safetensors", "*.mp4", "*.parquet", "*.tar", "*.zip", ".env", "*.pem", "*.key",
    "credentials*",
)  # fmt: skip


def pack(folder: Path, excludes: Iterable[str] = ()) -> tuple[str, bytes]:
    """Zip a folder without what no run needs (caches, data, checkpoints, keys) and without `excludes` (patterns of names or paths).

    Returns:
        name of the package (made from its content) and its bytes.

    Raises:
        ConfigurationError: more than 100 MiB are left.
    """
    patterns = [*EXCLUDES, *excludes]
    buffer = io.BytesIO()
    total = 0
    largest: list[tuple[int, str]] = []
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for path in sorted(_files(folder, folder, patterns)):
            name = path.relative_to(folder).as_posix()
            data = path.read_bytes()
            total += len(data)
            largest = sorted([*largest, (len(data), name)], reverse=True)[:3]
            if total > LIMIT:
                worst = ", ".join(f"{name} ({size / 2**20:.0f} MiB)" for size, name in largest)
                raise ConfigurationError(
                    f"{folder} holds more than {LIMIT // 2**20} MiB without data and checkpoints; leave out the largest with --exclude: {worst}"
                )
            info = zipfile.ZipInfo(name)  # a fixed date, so that equal files make an equal package
            info.compress_type = zipfile.ZIP_DEFLATED
            info.external_attr = (path.stat().st_mode & 0o777) << 16
            archive.writestr(info, data)
    data = buffer.getvalue()
    return f"_ray_pkg_{hashlib.sha256(data).hexdigest()[:16]}.zip", data


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
