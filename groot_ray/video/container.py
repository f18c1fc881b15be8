"""Opening video files with errors that name the file."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ray.errors import DataError

if TYPE_CHECKING:
    from av.container import InputContainer
    from av.video.stream import VideoStream


@contextmanager
def decoding_errors(path: Path | str) -> Iterator[None]:
    """Turn what FFmpeg raises inside the block into a `DataError` that names `path`."""
    import av

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"video {path} is missing") from None
    except av.error.FFmpegError as error:
        raise DataError(f"video {path} cannot be decoded, it is truncated or damaged ({error.strerror})") from error


def open_video(path: Path | str, threads: int = 1) -> tuple[InputContainer, VideoStream]:
    """Open the first video stream of a file; raises `DataError` when there is none.

    One decoding thread by default: conversion and loading run one task for each core already.
    """
    import av

    with decoding_errors(path):
        container = av.open(str(path))
        if not container.streams.video:
            container.close()
            raise DataError(f"{path} has no video stream")
        stream = container.streams.video[0]
        stream.codec_context.thread_count = threads
        if threads == 1:
            stream.codec_context.thread_type = "NONE"
        return container, stream
