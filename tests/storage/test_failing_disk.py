"""System calls of local storage fail once: one sentence, the right exit code, and never a half-written file."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from groot_ray.errors import GrootRayError
from groot_ray.storage import open_location

CALLS = ("open", "link", "replace", "fsync", "mkdir", "stat")
CODES = {errno.EIO: 69, errno.ESTALE: 69, errno.ENOSPC: 64, errno.EACCES: 64}


@pytest.mark.parametrize("code", CODES, ids=errno.errorcode.get)
@pytest.mark.parametrize("call", CALLS)
def test_each_call_may_fail(call: str, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The k-th call fails, for every k, until the writes need fewer calls."""
    real = getattr(os, call)
    for number in range(1, 20):
        folder = tmp_path / f"{number}"
        made = 0

        def failing(*words: object, number: int = number, **named: object) -> object:
            nonlocal made
            made += 1
            if made == number:
                raise OSError(code, os.strerror(code))
            return real(*words, **named)

        with monkeypatch.context() as patch:
            patch.setattr(os, call, failing)
            try:
                (open_location(folder) / "a/replaced").write_bytes(b"whole")
                (open_location(folder) / "a/created").create_bytes(b"whole")
            except GrootRayError as error:
                if call != "stat" or code != errno.EACCES:
                    assert error.exit_code == CODES[code]
                assert "\n" not in str(error) and str(folder) in str(error)
        for path in folder.rglob("*"):
            assert path.is_dir() or path.read_bytes() == b"whole" or path.name.endswith(".partial")
        if made < number:
            return
    raise AssertionError(f"{call} was called too often")


def test_a_link_whose_answer_was_lost_is_still_ours(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A network file system executes a link, loses the answer, sends it again, and reports that the file exists."""
    real = os.link

    def lost(source: Path, target: Path) -> None:
        real(source, target)
        real(source, target)

    monkeypatch.setattr(os, "link", lost)
    claim = open_location(tmp_path) / "claim"
    assert claim.create_bytes(b"mine")
    assert not claim.create_bytes(b"mine")
