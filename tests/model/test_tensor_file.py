from __future__ import annotations

from pathlib import Path

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from safetensors.torch import load_file, save_file

from groot_ray.model.shared.tensor_file import _NAMES, write_tensors

shapes = st.lists(st.integers(0, 4), max_size=3)
named = st.dictionaries(
    st.text(min_size=1, max_size=6).filter(lambda n: n != "__metadata__"),
    st.tuples(st.sampled_from(list(_NAMES)), shapes),
    min_size=1,
)


@given(named)
@settings(max_examples=100, deadline=None)
def test_the_bytes_are_the_librarys(tmp_path_factory, content: dict) -> None:
    folder = tmp_path_factory.mktemp("files")
    tensors = {name: (torch.rand(shape) * 3).to(dtype) for name, (dtype, shape) in content.items()}
    write_tensors(folder / "ours", tensors, {"format": "pt"})
    save_file(tensors, folder / "theirs", metadata={"format": "pt"})
    assert (folder / "ours").read_bytes() == (folder / "theirs").read_bytes()


def test_tensors_need_not_be_contiguous(tmp_path: Path) -> None:
    tensor = torch.arange(24.0).reshape(4, 6)
    write_tensors(tmp_path / "file", {"turned": tensor.T, "cut": tensor[:, 1:3]}, {})
    loaded = load_file(tmp_path / "file")
    assert torch.equal(loaded["turned"], tensor.T) and torch.equal(loaded["cut"], tensor[:, 1:3])


@pytest.mark.skipif(not torch.cuda.is_available(), reason="torch sees no GPU")
def test_tensors_of_a_gpu_come_in_parts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("groot_ray.model.shared.tensor_file.STAGING", 1000)
    tensors = {
        "long": torch.rand(12345),
        "narrow": torch.rand(77, 5).to(torch.bfloat16),
        "empty": torch.rand(0, 3),
        "one": torch.tensor(7),
        "turned": torch.rand(40, 60).T,
    }
    there = {name: tensor.cuda() if name != "narrow" else tensor for name, tensor in tensors.items()}
    write_tensors(tmp_path / "ours", there, {"format": "pt"})
    write_tensors(tmp_path / "theirs", tensors, {"format": "pt"})
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()


def test_an_unknown_dtype_is_refused(tmp_path: Path) -> None:
    with pytest.raises(KeyError):
        write_tensors(tmp_path / "file", {"z": torch.zeros(2, dtype=torch.complex64)}, {})
