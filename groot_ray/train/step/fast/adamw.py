"""Clipping, AdamW and the refresh of bf16 copies in one pass over all tensors, with torch.optim.AdamW's state.

Loshchilov and Hutter, "Decoupled Weight Decay Regularization" (2019). On a GPU one Triton kernel reads the addresses
of all tensors from a table; elsewhere plain torch does the same, tensor by tensor. The moments stay in the optimizer's
own tensors, so checkpoints do not differ.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor, nn

from groot_ray.train.step.fast.rows import Row
from groot_ray.train.step.fast.twin import Trained
from groot_ray.train.step.optimizer import BETAS, EPS


class ClippedAdamW:
    """Updates what trains with `optimizer`'s groups and state, which this class keeps up to date."""

    def __init__(self, network: nn.Module, trained: Sequence[Trained], optimizer: torch.optim.Optimizer) -> None:
        self._trained = trained
        self._optimizer = optimizer
        self._parameters = dict(network.named_parameters())
        groups = [(p, group) for group in optimizer.param_groups for p in group["params"]]
        self._decay = {id(parameter): float(group["weight_decay"]) for parameter, group in groups}
        self._order = {id(parameter): number for number, (parameter, _) in enumerate(groups)}
        self._kept: dict[int, Update] = {}

    def forget(self) -> None:
        """Read the optimizer's state again at the next update, because it was loaded."""
        self._kept.clear()

    def update(self, gradients: Sequence[Tensor | None], rate: float, max_norm: float, static: bool) -> Tensor:
        """Take a step with the gradients of what trains (None for what the loss does not depend on); returns their norm
        before clipping, float32 [].

        `static`: this sequence comes again, with the same tensors, so its table of addresses is kept.
        """
        if not static:
            return Update(self._rows(gradients))(rate, max_norm)
        if id(gradients) not in self._kept:
            self._kept[id(gradients)] = Update(self._rows(gradients))
        return self._kept[id(gradients)](rate, max_norm)

    def _rows(self, gradients: Sequence[Tensor | None]) -> list[Row]:
        rows = []
        pairs = zip(self._trained, gradients, strict=True)
        # In the optimizer's order, so that the norm is summed as torch does it.
        for one, gradient in sorted(pairs, key=lambda pair: self._order[id(self._parameters[pair[0].name])]):
            if gradient is None:
                continue
            parameter = self._parameters[one.name]
            state = self._optimizer.state[parameter]
            if not state:
                state["step"] = torch.zeros((), dtype=torch.float32, device=parameter.device)
                state["exp_avg"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
                state["exp_avg_sq"] = torch.zeros_like(parameter, memory_format=torch.preserve_format)
            rows.append(
                Row(
                    one.master,
                    gradient,
                    one.part(state["exp_avg"]),
                    one.part(state["exp_avg_sq"]),
                    one.used.detach() if one.copied else None,
                    self._decay[id(parameter)],
                    state["step"],
                )
            )
        return rows


class Update:
    """One pass over rows; their tensors stay where they are and are kept alive."""

    def __init__(self, rows: Sequence[Row]) -> None:
        self.rows = rows
        self._launch = None
        if rows[0].master.is_cuda:
            from groot_ray.train.step.fast.kernels import Launch

            self._launch = Launch(rows)

    def __call__(self, rate: float, max_norm: float) -> Tensor:
        rows = self.rows
        norms = torch._foreach_norm([row.gradient for row in rows], 2, dtype=torch.float32)
        norm = torch.linalg.vector_norm(torch.stack(list(norms)))
        clip = (max_norm / (norm + 1e-6)).clamp(max=1.0)  # as torch's clip_grad_norm_
        torch._foreach_add_([row.step for row in rows], 1.0)
        if self._launch is not None:
            self._launch(rate, clip)
        else:
            for row in rows:
                update_row(row, rate, clip)
        return norm


def update_row(row: Row, rate: float, clip: Tensor) -> None:
    """What the kernel does, in plain torch and in the order of torch's fused AdamW."""
    gradient = row.gradient.float() * clip
    first, second = 1 - BETAS[0] ** row.step.item(), 1 - BETAS[1] ** row.step.item()
    row.master.mul_(1 - rate * row.decay)
    row.average.lerp_(gradient, 1 - BETAS[0])
    row.squares.mul_(BETAS[1]).addcmul_(gradient, gradient, value=1 - BETAS[1])
    row.master.addcdiv_(row.average, (row.squares.sqrt() / second**0.5).add_(EPS), value=-rate / first)
    if row.copy is not None:
        row.copy.copy_(row.master)
