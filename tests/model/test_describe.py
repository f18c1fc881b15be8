"""`groot-ray model show`: a checkpoint in words."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
from recorded import modality_configs, statistics_of

from groot_ray.model.describe import describe
from groot_ray.model.n1d6.family import FAMILY
from groot_ray.model.shared.weights import save_network


def test_a_checkpoint_is_described_with_its_dims_in_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    chunks = rng.uniform(-1, 1, (50, 4, 2))
    network = FAMILY.new_network("tiny", 0)
    save_network(network, tmp_path)
    processor = FAMILY.new_processor(network.config)
    statistics = {
        "state": {"arm": statistics_of(rng.uniform(-1, 1, (50, 3)))},
        "action": {"arm": statistics_of(chunks[:, 0])},
    }
    processor.set_embodiment("GR1", modality_configs(["arm"], ["arm"], horizon=4), statistics)
    processor.save(tmp_path)
    text = describe(tmp_path)
    assert "state 128, action 128 dims at most, horizon 50, 4 denoising steps" in text
    assert re.search(r"gr1 +id 20, state 3, action 2, horizon 4$", text)
