"""What a robot is: cameras, state and action components, their representation, presets, NVIDIA's modality config in and out.

Everything above may import it; it imports only `errors`, the experiment's YAML reader and, when a tag is checked, `model.tags`.
"""

from __future__ import annotations

from groot_ray.embodiment.load import load_embodiment, preset_names
from groot_ray.embodiment.schema import ActionComponent, Camera, Embodiment, Language, StateComponent

__all__ = ["ActionComponent", "Camera", "Embodiment", "Language", "StateComponent", "load_embodiment", "preset_names"]
