"""Forward and backward pass of a micro-batch over a network's regions: eager, or compiled in CUDA graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor, nn

from groot_ray.model.shared.network import Region

WARM_UP = 2  # passes before a capture: the first compiles, the second sees the allocator as it will stay
Gradients = Sequence[Tensor | None]
Forward = Callable[[], AbstractContextManager[Any]]


def run_region(region: Region, batch: dict[str, Any], draws: dict[str, Tensor], before: Tensor | None) -> Tensor:
    """A region's result, without a graph of gradients where nothing trains."""
    with nullcontext() if region.trains else torch.no_grad():
        return region.run(batch, draws, before)


def gradients_of(loss: Tensor, scale: Tensor, parameters: Sequence[nn.Parameter]) -> list[Tensor | None]:
    """Contiguous gradients of loss * scale; None for a parameter that the loss does not depend on."""
    found = torch.autograd.grad(loss * scale, parameters, allow_unused=True)
    return [None if gradient is None else gradient.contiguous() for gradient in found]


def eager_pass(
    regions: Sequence[Region],
    batch: dict[str, Any],
    draws: dict[str, Tensor],
    scale: Tensor,
    parameters: Sequence[nn.Parameter],
    forward: Forward,
) -> tuple[Tensor, list[Tensor | None]]:
    """The summed loss, float [], and the gradients of a micro-batch."""
    result: Tensor | None = None
    with forward():
        for region in regions:
            result = run_region(region, batch, draws, result)
    assert result is not None
    return result.detach(), gradients_of(result, scale, parameters)


class CapturedPass:
    """The same for batches of one shape, as one CUDA graph per region.

    A graph reads and writes fixed addresses, so this object keeps all tensors that its graphs use. Dropout draws from
    the GPU's generator, whose seed a graph reads when it is replayed.

    Raises:
        Exception: whatever the compiler, the driver or a kernel raises where it cannot do this.
    """

    def __init__(
        self,
        regions: Sequence[Region],
        batch: dict[str, Any],
        draws: dict[str, Tensor],
        scale: Tensor,
        parameters: Sequence[nn.Parameter],
        forward: Forward,
    ) -> None:
        self._inputs = _copied(batch), _copied(draws)
        self._scale = scale.clone()
        self._parameters = list(parameters)
        self._forward = forward
        self.names = [region.name for region in regions]
        self.graphs: list[torch.cuda.CUDAGraph] = []
        self._results: list[Tensor] = []
        seed = torch.cuda.initial_seed()
        stream = torch.cuda.Stream()
        stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(stream):
            for _ in range(WARM_UP):
                eager_pass(regions, *self._inputs, self._scale, self._parameters, forward)
        torch.cuda.current_stream().wait_stream(stream)
        pool = torch.cuda.graph_pool_handle()
        for region in regions:
            self._capture(region, pool, region is regions[-1])
        torch.cuda.manual_seed(seed)  # as if nothing had been drawn

    def __call__(self, batch: dict[str, Any], draws: dict[str, Tensor], scale: Tensor) -> tuple[Tensor, Gradients]:
        """See `eager_pass`; the result is overwritten by the next call."""
        self.load(batch, draws, scale)
        for graph in self.graphs:
            graph.replay()
        return self.loss, self.gradients

    def load(self, batch: dict[str, Any], draws: dict[str, Tensor], scale: Tensor) -> None:
        """Copy the inputs to where the graphs read them."""
        for name, value in tensors_of(batch):
            self._inputs[0][name].copy_(value)
        for name, value in tensors_of(draws):
            self._inputs[1][name].copy_(value)
        self._scale.copy_(scale)

    def _capture(self, region: Region, pool: Any, last: bool) -> None:
        before = self._results[-1] if self._results else None
        graph = torch.cuda.CUDAGraph()
        # Loader threads copy batches meanwhile, which a global capture would forbid.
        with torch.cuda.graph(graph, pool=pool, capture_error_mode="thread_local"):
            with self._forward():
                result = run_region(region, *self._inputs, before)
            if last:
                self.gradients = gradients_of(result, self._scale, self._parameters)
                self.loss = result.detach()
        self.graphs.append(graph)
        self._results.append(result.detach())


def compiled(regions: Sequence[Region]) -> list[Region]:
    """The regions, compiled at their first call with each shape."""
    return [region._replace(run=torch.compile(region.run, fullgraph=True, dynamic=False)) for region in regions]


def shape_of(batch: dict[str, Any], draws: dict[str, Tensor]) -> tuple[Any, ...]:
    """What distinguishes batches that need a capture each: shapes, dtypes, and the layout."""
    tensors = [*tensors_of(batch), *tensors_of(draws)]
    return (*((name, value.shape, value.dtype) for name, value in tensors), batch["batch_layout"])


def tensors_of(values: dict[str, Any]) -> Iterator[tuple[str, Tensor]]:
    """Names and tensors of a batch."""
    return ((name, value) for name, value in values.items() if isinstance(value, Tensor))


def _copied(values: dict[str, Any]) -> dict[str, Any]:
    return {name: value.clone() if isinstance(value, Tensor) else value for name, value in values.items()}
