"""Memory is estimated before it is allocated, and compared with what machine, container or pod has."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from groot_ray.cli.experiment import check
from groot_ray.errors import ConfigurationError
from groot_ray.experiment.document import build_document
from groot_ray.experiment.memory import IMAGE_BYTES, batch_bytes, check_document_memory
from groot_ray.experiment.schema import TrainingOptions
from groot_ray.machine_memory import cgroup_limits, memory_limit, out_of_memory
from groot_ray.model.family import default_family


def document(**given: Any) -> Any:
    data = {"experiment": {"name": "x", "source": {"uri": "d"}, "embodiment": "aloha"}}
    return build_document(data, {name.replace("__", "."): value for name, value in given.items()})


def test_batches_that_are_held_at_the_same_time() -> None:
    options = TrainingOptions(global_batch_size=64, gradient_accumulation_steps=2, dataloader_num_workers=3)
    assert batch_bytes(options, views=3, workers=4) == 8 * (2 + 6) * 3 * IMAGE_BYTES
    assert batch_bytes(TrainingOptions(global_batch_size=1), 1, 8) == 5 * IMAGE_BYTES, "a worker has a sample or more"


def test_a_pod_too_small_is_refused_with_both_numbers(tmp_path: Path) -> None:
    given = {"experiment__training__global_batch_size": 100_000, "cluster__ray__gpu__memory": "64Gi"}
    with pytest.raises(ConfigurationError, match=r"at least 1,098.6 GiB .* a pod of cluster.ray.gpu.* has 64.0 GiB"):
        check_document_memory(document(**given), views=3)
    check_document_memory(document(**{**given, "experiment__training__global_batch_size": 1000}), views=3)
    threads = {"experiment__training__dataloader_num_workers": 1000, "cluster__ray__gpu__memory": "64Gi"}
    with pytest.raises(ConfigurationError, match=r"for batches\) on a pod .* has 64.0 GiB; lower .*num_workers"):
        check_document_memory(document(**threads), views=3)
    fresh = {"experiment__model__base": None, "cluster__ray__gpu__memory": "8Gi"}
    with pytest.raises(ConfigurationError, match=r"12.2 GiB for weights"):
        check_document_memory(document(**fresh), views=1)


def test_check_refuses_a_pod_and_warns_of_this_machine(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "experiment: {name: x, source: {uri: d}, embodiment: aloha, training: {global_batch_size: 1000000}, "
    file = tmp_path / "e.yaml"
    file.write_text(text + "splits: {test: 1}}")
    check(file)
    assert "training needs at least" in capsys.readouterr().out
    file.write_text(text + "splits: {test: 1}}\ncluster: {ray: {mode: kuberay}}")
    with pytest.raises(ConfigurationError, match="a pod of cluster.ray.gpu, which has 64.0 GiB"):
        check(file)


def test_limits_of_groups_are_those_of_the_group_and_all_above(tmp_path: Path) -> None:
    groups, own = tmp_path / "groups", tmp_path / "own"
    for name, text in {
        "pod/container/memory.max": "2000\n",
        "pod/memory.max": "1000\n",
        "memory.max": "max\n",
        "memory/old/memory.limit_in_bytes": "500\n",
    }.items():
        (groups / name).parent.mkdir(parents=True, exist_ok=True)
        (groups / name).write_text(text)
    own.write_text("0::/pod/container\n")
    assert sorted(cgroup_limits(groups, own)) == [1000, 2000]
    assert memory_limit(groups, own) == 1000
    own.write_text("4:memory:/old\n3:cpuset:/pod\n")
    assert list(cgroup_limits(groups, own)) == [500]
    assert list(cgroup_limits(tmp_path / "none", tmp_path / "none")) == []


@pytest.mark.parametrize("size", default_family().sizes)
def test_the_number_of_parameters_is_that_of_the_network(size: str) -> None:
    family = default_family()
    with torch.device("meta"):
        network = family.build_network(family.new_config(size))
    assert sum(p.numel() for p in network.parameters()) == family.parameters[size]


def test_a_failed_allocation_is_one_sentence() -> None:
    with pytest.raises(ConfigurationError, match="out of memory .*; lower it"), out_of_memory("lower it"):
        torch.zeros(2**55, dtype=torch.uint8)
    with pytest.raises(RuntimeError, match="other"), out_of_memory("lower it"):
        raise RuntimeError("other")
