"""Noise and time of flow matching, as the trainer draws them for one sample.

Lipman et al., "Flow Matching for Generative Modeling" (2022). Time 0 is noise and time 1 is data.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np


@dataclass(frozen=True)
class FlowNoise:
    """Noise from N(0, 1) of [horizon, dims], and a time ``t = (1 - u) * s`` with ``u ~ Beta(alpha, beta)``."""

    horizon: int
    dims: int
    alpha: float = 1.5
    beta: float = 1.0
    s: float = 0.999

    def draw(self, rng: np.random.Generator) -> dict[str, np.ndarray | np.float32]:
        """``noise`` float32 [horizon, dims] and ``time`` float32 in [0, s] of one sample."""
        import numpy as np

        noise = rng.standard_normal((self.horizon, self.dims), dtype=np.float32)
        return {"noise": noise, "time": np.float32((1.0 - rng.beta(self.alpha, self.beta)) * self.s)}
