"""Opens video files; errors name the file."""

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
    """Context manager that turns FFmpeg's errors into a `DataError` naming `path`."""
    import av

    try:
        yield
    except FileNotFoundError:
        raise DataError(f"video {path} is missing") from None
    except av.error.FFmpegError as error:
        raise DataError(f"video {path} cannot be decoded; it is truncated or damaged ({error.strerror})") from error


def open_video(path: Path | str, threads: int = 1) -> tuple[InputContainer, VideoStream]:
    """Open the first video stream of a file; raises `DataError` if there is none.

    One decoding thread by default, since conversion and loading already run one task per core.
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
