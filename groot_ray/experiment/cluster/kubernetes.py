"""Kubernetes' own types as fields: quantities, names, labels, tolerations, volumes."""

from __future__ import annotations

import re
from typing import Annotated, Literal

from pydantic import ConfigDict, Field
from typing_extensions import TypedDict

from groot_ray.experiment.rules import Never
from groot_ray.experiment.schema import PlainMapping
from groot_ray.field_types import BILLION

UNITS = ("m", "k", "M", "G", "T", "P", "Ki", "Mi", "Gi", "Ti", "Pi")  # allowed in values
Quantity = Annotated[str, Field(pattern=rf"^[0-9]{{1,15}}(\.[0-9]{{1,9}})?({'|'.join(UNITS)})?$")]
ObjectName = Annotated[str, Field(pattern=r"^[a-z0-9]([-a-z0-9.]{0,251}[a-z0-9])?$")]
ImageName = Annotated[str, Field(pattern=r"^[^\s@:/][^\s]*$")]
LABEL = r"([A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?)"
LabelName = Annotated[str, Field(pattern=rf"^([a-z0-9]([-a-z0-9.]{{0,251}}[a-z0-9])?/)?{LABEL}$")]
LabelText = Annotated[str, Field(pattern=rf"^{LABEL}?$")]
NodeLabels = dict[LabelName, LabelText]

# Labels and annotations by which the chart, its NetworkPolicies and KubeRay find their pods.
FreeLabelName = Annotated[
    LabelName,
    Never(r"^(groot-ray|app\.kubernetes\.io|ray\.io)/", "left out: the chart sets this name itself; choose another"),
]
Labels = dict[FreeLabelName, LabelText]
Annotations = dict[FreeLabelName, str]
ResourceName = Annotated[str, Never(r"^(cpu|memory)$", "left out: it has an option of its own, cpu_request or memory")]
CHARTS_VOLUMES = ("scratch", "tmp", "shared-memory", "ca-bundle")

FACTORS = {
    **{"": 1, "n": 1e-9, "u": 1e-6, "m": 1e-3, "k": 1e3, "M": 1e6, "G": 1e9, "T": 1e12, "P": 1e15, "E": 1e18},
    **{"Ki": 2**10, "Mi": 2**20, "Gi": 2**30, "Ti": 2**40, "Pi": 2**50, "Ei": 2**60},
}


class Toleration(TypedDict, total=False):
    """A taint that pods tolerate, as in a pod."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    key: str
    operator: Literal["Exists", "Equal"]
    value: str
    effect: Literal["NoSchedule", "PreferNoSchedule", "NoExecute"]
    tolerationSeconds: Annotated[int, Field(ge=-BILLION, le=BILLION, strict=True)]


class Affinity(TypedDict, total=False):
    """Rules for nodes and neighbors, as in a pod."""

    __pydantic_config__ = ConfigDict(extra="forbid")  # type: ignore[misc]

    nodeAffinity: PlainMapping
    podAffinity: PlainMapping
    podAntiAffinity: PlainMapping


class Volume(TypedDict, total=False):
    """A volume, as in a pod."""

    __pydantic_config__ = ConfigDict(extra="allow")  # type: ignore[misc]

    name: Annotated[str, Never(f"^({'|'.join(CHARTS_VOLUMES)})$", "another name: the chart has a volume of this name")]


def quantity(text: str) -> float:
    """Numeric value of a Kubernetes quantity: 160Mi is 167,772,160; 0 if the text is not a quantity."""
    match = re.fullmatch(r"((?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)([a-zA-Z]*)", str(text))
    return float(match[1]) * FACTORS[match[2]] if match is not None and match[2] in FACTORS else 0.0
