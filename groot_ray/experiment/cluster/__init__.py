"""The `cluster:` section of a document: where and how the stages run on Kubernetes.

The same keys are the values of the chart ``charts/groot-experiment``, whose ``values.yaml`` and ``values.schema.json``
are generated from these classes. None of them can change a result, so none enters a stage key. Every package may import
it; it imports only the rest of ``experiment``.
"""

from groot_ray.experiment.cluster.environment import SECRET_NAME
from groot_ray.experiment.cluster.kubernetes import quantity
from groot_ray.experiment.cluster.options import ClusterOptions
from groot_ray.experiment.cluster.pods import PodOptions
from groot_ray.experiment.cluster.stages import StageOptions

__all__ = ["SECRET_NAME", "ClusterOptions", "PodOptions", "StageOptions", "quantity"]
