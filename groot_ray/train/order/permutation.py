"""A seeded permutation in closed form: any element is computed alone, so a resumed run needs no list of seen samples.

A Feistel network permutes the numbers below the next power of four. Numbers outside [0, n) go through it again until
they fall inside ("cycle walking", Black and Rogaway 2002), which keeps it a permutation of [0, n).
"""

from __future__ import annotations

import numpy as np

ROUNDS = 8
_WORD = (1 << 64) - 1


def permute(index: np.ndarray, n: int, key: int) -> np.ndarray:
    """The elements at `index` of the permutation of ``range(n)`` selected by `key`.

    Args:
        index: int64 [...], each in [0, n).
        n: size of the set, 1 to 2^62.
        key: any integer; its lowest 64 bits are used.

    Returns:
        int64 [...], each in [0, n).
    """
    half = max(1, ((n - 1).bit_length() + 1) // 2)
    keys = _round_keys(key)
    result = _feistel(np.asarray(index, dtype=np.uint64).reshape(-1), half, keys)
    outside = result >= n
    while outside.any():
        result[outside] = _feistel(result[outside], half, keys)
        outside = result >= n
    return result.astype(np.int64).reshape(np.shape(index))


def combine(*numbers: int) -> int:
    """Hash several integers into one 64-bit key; their order matters."""
    key = 0
    for number in numbers:
        key = _mix_number(key ^ _mix_number(number & _WORD))
    return key


def _round_keys(key: int) -> list[np.uint64]:
    return [np.uint64(combine(key, number)) for number in range(ROUNDS)]


def _feistel(values: np.ndarray, half: int, keys: list[np.uint64]) -> np.ndarray:
    mask = np.uint64((1 << half) - 1)
    left, right = values >> np.uint64(half), values & mask
    for key in keys:
        left, right = right, left ^ (_mix(right ^ key) & mask)
    return (left << np.uint64(half)) | right


def _mix(values: np.ndarray) -> np.ndarray:
    """The finalizer of splitmix64 (Steele et al. 2014) on uint64 [...]; arithmetic wraps."""
    values = values + np.uint64(0x9E3779B97F4A7C15)
    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed: np.ndarray = values ^ (values >> np.uint64(31))
    return mixed


def _mix_number(value: int) -> int:
    return int(_mix(np.array([value & _WORD], dtype=np.uint64))[0])
