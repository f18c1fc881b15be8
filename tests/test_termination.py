"""SIGTERM while a library has replaced our handler, as Ray does during its start."""

from __future__ import annotations

import os
import signal
import sys

import pytest

from groot_ray.termination import EndedBySignal, kept_handlers, signals_as_errors


def test_sigterm_during_the_start_of_a_library_is_ours() -> None:
    with signals_as_errors(signal.SIGTERM):
        ours = signal.getsignal(signal.SIGTERM)
        with pytest.raises(EndedBySignal) as ended, kept_handlers():
            signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(number))
            os.kill(os.getpid(), signal.SIGTERM)
        assert ended.value.exit_code == 75
        assert signal.getsignal(signal.SIGTERM) is ours


def test_an_exit_is_nobodys_signal_without_a_handler_of_ours() -> None:
    with pytest.raises(SystemExit), kept_handlers():
        raise SystemExit(3)
