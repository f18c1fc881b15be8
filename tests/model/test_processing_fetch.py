"""Base models and tokenizers from a hub, with the real client against a hub on this machine, and from folders."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from model_hub import SmallHub, serve
from recorded import DATA
from safetensors.numpy import save_file

from groot_ray.errors import ConfigurationError, DataError, ServiceUnavailableError
from groot_ray.model.fetch import fetch_model, locate_model
from groot_ray.model.n1d6.processor import Processor
from groot_ray.model.n1d6.tokens import QWEN3
from groot_ray.model.shared.tokenizer import build_tokenizer

MODEL, TINY = "org/model", "org/tiny-tokenizer"


@pytest.fixture(scope="module")
def repositories(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    folder = tmp_path_factory.mktemp("repositories")
    shutil.copytree(DATA / "processor", folder / "model")
    (folder / "model" / "config.json").write_text(json.dumps({"model_type": "Gr00tN1d6"}))
    save_file({"w": np.zeros(3, np.float32)}, folder / "model" / "model.safetensors", metadata={"format": "pt"})
    (folder / "model" / "optimizer.pt").write_bytes(b"a pickle that must not be fetched")
    build_tokenizer("tiny", QWEN3).save(folder / "tokenizer")
    return {MODEL: folder / "model", TINY: folder / "tokenizer"}


@pytest.fixture
def hub(repositories: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallHub]:
    with serve(SmallHub(repositories)) as hub:
        monkeypatch.setenv("HF_ENDPOINT", hub.url)
        for name in ("HF_TOKEN", "HF_HUB_OFFLINE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setenv("HF_TOKEN_PATH", str(tmp_path / "no-token"))
        yield hub


def test_a_model_is_fetched_with_its_tokenizer(hub: SmallHub, tmp_path: Path) -> None:
    fetch_model(MODEL, tmp_path / "model", tokenizer=TINY, cache=tmp_path / "cache")
    files = sorted(p.relative_to(tmp_path / "model").as_posix() for p in (tmp_path / "model").rglob("*") if p.is_file())
    assert files == [
        "config.json", "embodiment_id.json", "model.safetensors", "processor_config.json", "statistics.json",
        "tokenizer/added_tokens.json", "tokenizer/merges.txt", "tokenizer/tokenizer_config.json",
        "tokenizer/vocab.json",
    ]  # fmt: skip
    processor = Processor.from_directory(tmp_path / "model")
    assert processor.tags == ["NEW_EMBODIMENT"] and processor.tokenizer.pad_id == 497
    fetch_model(tmp_path / "model", tmp_path / "copy")
    copied = sorted(p.relative_to(tmp_path / "copy").as_posix() for p in (tmp_path / "copy").rglob("*") if p.is_file())
    assert copied == files


def test_a_model_in_the_cache_is_not_fetched_again(hub: SmallHub, tmp_path: Path) -> None:
    first = locate_model(MODEL, cache=tmp_path / "cache")
    assert (first / "model.safetensors").is_file() and not (first / "optimizer.pt").exists()
    downloads = [r for r in hub.requests if r.startswith("GET") and "/resolve/" in r]
    assert len(downloads) == 5
    assert locate_model(MODEL, cache=tmp_path / "cache") == first
    assert [r for r in hub.requests if r.startswith("GET") and "/resolve/" in r] == downloads
    hub.broken = True
    assert locate_model(MODEL, cache=tmp_path / "cache") == first
    assert locate_model(first) == first


def test_a_damaged_file_of_the_hub_is_not_used(hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = locate_model(MODEL, cache=tmp_path / "cache")
    blob = (folder / "model.safetensors").resolve()
    whole = blob.read_bytes()
    blob.write_bytes(whole[:-1] + bytes([whole[-1] ^ 1]))
    with pytest.raises(DataError, match=f"{blob} is damaged: .*model.safetensors of {MODEL}.*delete it"):
        locate_model(MODEL, cache=tmp_path / "cache")
    blob.unlink()  # as the message advises
    assert (locate_model(MODEL, cache=tmp_path / "cache") / "model.safetensors").read_bytes() == whole
    answer = hub.answer

    def damaged(path: str, token: str | None) -> tuple[int, dict[str, str], bytes]:
        status, headers, body = answer(path, token)
        return status, headers, body.replace(b"{", b"[", 1) if path.endswith("/config.json") else body

    monkeypatch.setattr(hub, "answer", damaged)  # on its way to this machine
    with pytest.raises(DataError, match=r"config\.json is damaged"):
        fetch_model(MODEL, tmp_path / "model")


def test_a_gated_model_needs_a_token(hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.gated.add(MODEL)
    with pytest.raises(
        ConfigurationError,
        match=f"the repository is gated; accept its terms at {hub.url}/{MODEL} .*HF_TOKEN is not set",
    ):
        fetch_model(MODEL, tmp_path / "a", tokenizer="tiny")
    monkeypatch.setenv("HF_TOKEN", "hf_wrong")
    with pytest.raises(ConfigurationError, match="gated.*HF_TOKEN is set"):
        fetch_model(MODEL, tmp_path / "b", tokenizer="tiny")
    monkeypatch.setenv("HF_TOKEN", hub.token)
    fetch_model(MODEL, tmp_path / "c", tokenizer="tiny")
    assert (tmp_path / "c" / "model.safetensors").is_file()


def test_failures_of_the_hub_are_told_in_a_sentence(
    hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "cache"
    with pytest.raises(
        ConfigurationError,
        match="the base model from org/nothing at http.*no such repository, or it is private.*HF_TOKEN is not set",
    ):
        locate_model("org/nothing", cache=cache)
    with pytest.raises(ConfigurationError, match="has no revision 'v9'"):
        locate_model(MODEL, revision="v9", cache=cache)
    with pytest.raises(
        ConfigurationError,
        match="'./not/there/at/all' is neither a folder that exists nor the name of a hub repository",
    ):
        locate_model("./not/there/at/all", cache=cache)
    with pytest.raises(ConfigurationError, match="org/tiny-tokenizer is not a checkpoint: it has no config.json"):
        locate_model(TINY, cache=cache)
    with pytest.raises(ConfigurationError, match="there is no tokenizer in org/model"):
        build_tokenizer(MODEL, QWEN3, cache=cache)
    hub.broken = True
    with pytest.raises(ServiceUnavailableError, match="the hub does not answer .*groot-ray model fetch --to s3://"):
        locate_model(MODEL, cache=tmp_path / "empty")
    monkeypatch.setenv("HF_ENDPOINT", "http://127.0.0.1:1")
    with pytest.raises(
        ServiceUnavailableError,
        match="cannot fetch the tokenizer from org/x at http://127.0.0.1:1: the hub does not answer",
    ):
        build_tokenizer("org/x", QWEN3, cache=cache)


def test_offline_is_told_in_a_sentence(hub: SmallHub, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In a separate process, because the hub library reads HF_HUB_OFFLINE when it is imported."""
    import os
    import subprocess
    import sys

    code = (
        "from groot_ray.model.fetch import locate_model\nfrom groot_ray.errors import GrootRayError\n"
        f"try: locate_model({MODEL!r})\nexcept GrootRayError as error: print(error.exit_code, error)"
    )
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path)}
    out = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True
    ).stdout
    assert out.startswith("64 cannot fetch the base model from org/model") and "HF_HUB_OFFLINE is set" in out
    assert not hub.requests


def test_a_checkpoint_at_a_uri_is_brought_elsewhere(tmp_path: Path, repositories: dict[str, Path]) -> None:
    from groot_ray.cli.model import fetch

    base = tmp_path / "base"
    shutil.copytree(repositories[MODEL], base)
    Processor.from_directory(base, tokenizer="tiny").save(base)
    (base / "optimizer.safetensors").write_bytes(b"")
    fetch(to=str(tmp_path / "target"), model=f"file://{base}", revision=None, tokenizer=None, endpoint=None)
    target = tmp_path / "target"
    assert Processor.from_directory(target).tokenizer.size == 503
    assert (target / "model.safetensors").read_bytes() == (base / "model.safetensors").read_bytes()
    assert not any((target / name).exists() for name in ("optimizer.pt", "optimizer.safetensors"))


def test_a_folder_that_is_no_checkpoint(tmp_path: Path, repositories: dict[str, Path]) -> None:
    with pytest.raises(ConfigurationError, match="it has no config.json"):
        fetch_model(tmp_path, tmp_path / "out")
    shutil.copytree(repositories[MODEL], tmp_path / "m")
    (tmp_path / "m" / "model.safetensors").unlink()
    with pytest.raises(ConfigurationError, match=r"has no weights"):
        locate_model(tmp_path / "m")
