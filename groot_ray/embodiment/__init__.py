"""Description of a robot: cameras, state and action components, presets, detection, NVIDIA's configuration files.

Data and pure functions, without video or torch. Every package above may import it; of `model` it imports only the
family's tags and limits and the modality configuration.
"""

from __future__ import annotations

from groot_ray.embodiment.components import ActionComponent, Camera, Language, StateComponent
from groot_ray.embodiment.load import load_embodiment, preset_names
from groot_ray.embodiment.schema import Embodiment

__all__ = ["ActionComponent", "Camera", "Embodiment", "Language", "StateComponent", "load_embodiment", "preset_names"]
