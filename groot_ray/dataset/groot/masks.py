"""Masks of image regions, one array (npz or npy) for each episode and camera, for augmentation."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

from groot_ray.errors import DataError

if TYPE_CHECKING:
    import numpy as np


@lru_cache(maxsize=16)
def episode_masks(file: Path) -> np.ndarray:
    """All masks of an episode's camera, integer [T, H, W]; the most recent episodes stay in memory.

    Raises:
        DataError: the file is missing, broken, or does not hold such an array.
    """
    import zipfile

    import numpy as np

    try:
        loaded = np.load(file, mmap_mode="r" if file.suffix == ".npy" else None)
        masks = loaded if isinstance(loaded, np.ndarray) else loaded[loaded.files[0]]
    except FileNotFoundError:
        raise DataError(f"mask file {file} is missing") from None
    except (ValueError, OSError, IndexError, zipfile.BadZipFile) as error:
        raise DataError(f"mask file {file} cannot be read ({error})") from None
    if masks.ndim != 3 or masks.dtype.kind not in "iub":
        raise DataError(
            f"mask file {file} holds {masks.dtype} {list(masks.shape)}; masks are integers [frames, height, width]"
        )
    return masks
