"""What `submit` sends and what it does not send."""

from __future__ import annotations

import io
import zipfile
from pathlib import Path

import pytest

from groot_ray.cluster.ray.jobs import normal_address
from groot_ray.cluster.submit.environment import environment_to_send, ray_token
from groot_ray.cluster.submit.package import LIMIT, pack
from groot_ray.errors import ConfigurationError


def names(data: bytes) -> list[str]:
    return zipfile.ZipFile(io.BytesIO(data)).namelist()


def test_caches_data_and_keys_are_not_sent(tmp_path: Path) -> None:
    for name in (
        "experiment.yaml",
        "own/code.py",
        ".git/HEAD",
        ".venv/x",
        "outputs/y",
        "a/__pycache__/m.pyc",
        "v.mp4",
        ".env",
        "id.pem",
        "checkpoint-5/w",
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x")
    (tmp_path / "way-out").symlink_to("/etc/passwd")
    _, data = pack(tmp_path, ["own/*.txt"])
    assert names(data) == ["experiment.yaml", "own/code.py"]


def test_equal_folders_make_equal_packages(tmp_path: Path) -> None:
    for folder in ("a", "b"):
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "x.py").write_text("1")
    assert pack(tmp_path / "a") == pack(tmp_path / "b")
    (tmp_path / "b" / "x.py").write_text("2")
    assert pack(tmp_path / "a")[0] != pack(tmp_path / "b")[0]


def test_a_large_folder_names_its_largest_files(tmp_path: Path) -> None:
    with (tmp_path / "large.bin").open("wb") as stream:
        stream.truncate(LIMIT + 1)
    with pytest.raises(ConfigurationError, match=r"large\.bin \(100 MiB\)"):
        pack(tmp_path)
    assert names(pack(tmp_path, ["large.*"])[1]) == []


def test_secrets_are_not_sent_by_default(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s")
    monkeypatch.setenv("AWS_REGION", "r")
    monkeypatch.setenv("HF_TOKEN", "t")
    monkeypatch.setenv("AWS_CA_BUNDLE", "/here")
    monkeypatch.setenv("UNRELATED", "u")
    sent = environment_to_send()
    assert sent["AWS_REGION"] == "r" and not {"AWS_SECRET_ACCESS_KEY", "HF_TOKEN", "AWS_CA_BUNDLE", "UNRELATED"} & set(
        sent
    )
    assert environment_to_send(["HF_TOKEN", "X=y=z"])["HF_TOKEN"] == "t"
    assert environment_to_send(["X=y=z"])["X"] == "y=z"
    assert environment_to_send(secrets=True)["AWS_SECRET_ACCESS_KEY"] == "s"
    with pytest.raises(ConfigurationError, match="NOT_THERE"):
        environment_to_send(["NOT_THERE"])


def test_the_token_is_read_where_ray_reads_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAY_AUTH_TOKEN", raising=False)
    monkeypatch.setenv("RAY_AUTH_TOKEN_PATH", str(tmp_path / "token"))
    assert ray_token() is None
    (tmp_path / "token").write_text("abc\n")
    assert ray_token() == "abc"
    monkeypatch.setenv("RAY_AUTH_TOKEN", "def")
    assert ray_token() == "def"


@pytest.mark.parametrize(
    ("given", "meant"),
    [
        ("host", "http://host:8265"),
        ("host:80", "http://host:80"),
        ("https://host/", "https://host"),
        ("http://10.0.0.1:8265", "http://10.0.0.1:8265"),
    ],
)
def test_addresses(given: str, meant: str) -> None:
    assert normal_address(given) == meant


@pytest.mark.parametrize("wrong", ["ray://host:10001", "", "http://user:pw@host", "ftp://x"])
def test_wrong_addresses(wrong: str) -> None:
    with pytest.raises(ConfigurationError):
        normal_address(wrong)
