"""SIGTERM and Ctrl-C: an error in the main thread, or a wish that a waiting loop takes up.

systemd, `timeout`, `docker stop` and the end of a pod send SIGTERM. The error is not an `Exception`, so no retry and no
`except Exception` swallows it, and its exit code is that of the table in `errors`.
"""

from __future__ import annotations

import logging
import os
import signal
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import NoReturn

from groot_ray.errors import StoppedError, TemporaryFailureError

SENTENCES = {
    signal.SIGTERM: "this process was terminated (SIGTERM); run it again to continue",
    signal.SIGINT: "stopped by a person (Ctrl-C); run the same command to continue",
}
EXIT_CODES = {signal.SIGTERM: TemporaryFailureError.exit_code, signal.SIGINT: StoppedError.exit_code}

CLEAN_UP_SECONDS = 10.0
SAME_SECONDS = 0.5

_abandoned: list[threading.Thread] = []
_raised: list[float] = []  # when the last error was raised


class EndedBySignal(BaseException):
    """This process has to end and must not start any work. `exit_code` is 75 after SIGTERM, 70 after Ctrl-C."""

    def __init__(self, number: int, detail: object = None) -> None:
        sentence = SENTENCES[signal.Signals(number)]
        super().__init__(sentence if detail is None else f"{sentence}: {detail}")
        self.exit_code = EXIT_CODES[signal.Signals(number)]


@contextmanager
def signals_as_errors(*numbers: int) -> Iterator[None]:
    """Context manager that raises `EndedBySignal` in the main thread when one of these signals comes.

    A handler that somebody else has installed stays; so does Python's own for Ctrl-C unless SIGINT is asked for.
    """
    ours: dict[int, object] = {}
    if threading.current_thread() is threading.main_thread():
        for number in numbers:
            if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
                ours[number] = signal.signal(number, _raise)
    try:
        yield
    finally:
        for number, before in ours.items():
            if signal.getsignal(number) is _raise:
                signal.signal(number, before)  # type: ignore[arg-type]


def _raise(number: int, frame: FrameType | None) -> None:
    """Raise the error; ignore further signals for a while, so that the end of the attempt is recorded."""
    now = time.monotonic()
    if _raised and now - _raised[-1] < CLEAN_UP_SECONDS:
        return
    _raised[:] = [now]
    raise EndedBySignal(number)


@contextmanager
def kept_handlers() -> Iterator[None]:
    """Context manager for calls into libraries that install handlers of their own, as Ray does: ours come back."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {number: signal.getsignal(number) for number in SENTENCES}
    try:
        yield
    except SystemExit:
        if before[signal.SIGTERM] is not _raise:
            raise
        raise EndedBySignal(signal.SIGTERM) from None  # the library's handler answers SIGTERM by exiting
    finally:
        for number, handler in before.items():
            if handler is not None:
                signal.signal(number, handler)


class HeldSignals:
    """Counts SIGTERM and SIGINT. The first that came determines the error.

    A repetition within half a second is not counted: `timeout` signals a process and its group.
    """

    def __init__(self) -> None:
        self.count = 0
        self._first: int = signal.SIGINT
        self._last = 0.0

    @property
    def terminated(self) -> bool:
        """Whether the first signal was SIGTERM, whose sender kills the process after a while."""
        return self.count > 0 and self._first == signal.SIGTERM

    def note(self, number: int, frame: FrameType | None = None) -> None:
        """Handle a signal."""
        now = time.monotonic()
        self._first = number if self.count == 0 else self._first
        if self.count == 0 or now - self._last > SAME_SECONDS:
            self.count += 1
        self._last = now

    def error(self, detail: object = None) -> EndedBySignal:
        """The error for the signals that came; `detail` follows its sentence."""
        return EndedBySignal(self._first, detail)


@contextmanager
def held_signals() -> Iterator[HeldSignals]:
    """Context manager within which SIGTERM and SIGINT are only counted, so that they interrupt nothing.

    Only the main thread can hold them; elsewhere nothing is counted.
    """
    held = HeldSignals()
    if threading.current_thread() is not threading.main_thread():
        yield held
        return
    before = {number: signal.signal(number, held.note) for number in SENTENCES}
    try:
        yield held
    finally:
        for number, handler in before.items():
            signal.signal(number, handler if handler is not None else signal.SIG_DFL)


def abandon(thread: threading.Thread) -> None:
    """Note a thread that may not end in time; `end_process` then does not wait for it."""
    _abandoned.append(thread)


def end_process(code: int) -> NoReturn:
    """Exit with `code`.

    If an abandoned thread is still running, leave without Python's clean-up: ending the interpreter under native code
    of a running thread crashes it.
    """
    if any(thread.is_alive() for thread in _abandoned):
        logging.shutdown()
        for stream in (sys.stdout, sys.stderr):
            if stream is not None:
                with suppress(OSError, ValueError):
                    stream.flush()
        os._exit(code)
    sys.exit(code)
