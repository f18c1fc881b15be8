"""Rotations and rigid transforms in batches: rot6d, rotation vectors, and poses relative to a reference pose.

Poses are ``[xyz(3), rot6d(6)]`` or ``[xyz(3), rotvec(3)]``. rot6d is the first two ROWS of the rotation matrix,
row-major, and is read back by Gram-Schmidt (Zhou et al., "On the Continuity of Rotation Representations in Neural
Networks", CVPR 2019). Results are float64. Lengths are in the data's own unit (meters), rotation vectors in radians.
"""

from __future__ import annotations

import numpy as np

from groot_ray.errors import DataError

_TINY = 1e-12
_NEXT, _LAST = [1, 2, 0], [2, 0, 1]  # the axes after and before x, y and z


def rot6d_to_matrix(rot6d: np.ndarray) -> np.ndarray:
    """Rotation matrices float64 [..., 3, 3] from rot6d [..., 6].

    float32 values are made orthogonal in float32 and then moved to the nearest rotation in float64; among the rotations
    within rounding, this is the one that the reference computes.

    Raises:
        DataError: a row is zero, or both are parallel, so they describe no rotation.
    """
    rows = np.asarray(rot6d)
    if rows.dtype != np.float32:
        rows = rows.astype(np.float64)
    first = _unit(rows[..., :3])
    second = rows[..., 3:]
    second = _unit(second - _dot(first, second) * first)
    # Written out because np.cross is ten times as slow on arrays of this size, and the loader does this per sample.
    third = first[..., _NEXT] * second[..., _LAST] - first[..., _LAST] * second[..., _NEXT]
    matrix = np.stack([first, second, third], axis=-2)
    return matrix if matrix.dtype == np.float64 else _nearest_rotation(matrix.astype(np.float64))


def matrix_to_rot6d(matrix: np.ndarray) -> np.ndarray:
    """rot6d [..., 6] from float rotation matrices [..., 3, 3], of the same dtype."""
    return matrix[..., :2, :].reshape(*matrix.shape[:-2], 6)


def rotvec_to_matrix(rotvec: np.ndarray) -> np.ndarray:
    """Rotation matrices float64 [..., 3, 3] from rotation vectors [..., 3] (axis times angle, radians)."""
    rotvec = np.asarray(rotvec, dtype=np.float64)
    angle = np.linalg.norm(rotvec, axis=-1)[..., None, None]
    cross = np.zeros((*rotvec.shape[:-1], 3, 3))
    x, y, z = rotvec[..., 0], rotvec[..., 1], rotvec[..., 2]
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -z, y, -x
    cross[..., 1, 0], cross[..., 2, 0], cross[..., 2, 1] = z, -y, x
    # sinc keeps both factors exact near the angle zero, where sin(a) / a and (1 - cos(a)) / a^2 would divide by
    # zero.
    sin_part = np.sinc(angle / np.pi)
    cos_part = 0.5 * np.sinc(angle / (2 * np.pi)) ** 2
    return np.eye(3) + sin_part * cross + cos_part * (cross @ cross)


def matrix_to_rotvec(matrix: np.ndarray) -> np.ndarray:
    """Rotation vectors float64 [..., 3] (radians, length 0 to pi) from rotation matrices [..., 3, 3].

    Uses the largest quaternion component, which stays exact near the angles 0 and pi (Shepperd 1978).
    """
    m = np.asarray(matrix, dtype=np.float64)
    flat = m.reshape(-1, 3, 3)
    trace = flat[:, 0, 0] + flat[:, 1, 1] + flat[:, 2, 2]
    # Row i of `table` is the quaternion (x, y, z, w) times four times its i-th component.
    table = np.empty((len(flat), 4, 4))
    for i in range(3):
        j, k = (i + 1) % 3, (i + 2) % 3
        table[:, i, i] = 1 + 2 * flat[:, i, i] - trace
        table[:, i, j] = table[:, j, i] = flat[:, i, j] + flat[:, j, i]
        table[:, i, 3] = table[:, 3, i] = flat[:, k, j] - flat[:, j, k]
    table[:, 3, 3] = 1 + trace
    largest = np.argmax(np.diagonal(table, axis1=1, axis2=2), axis=1)
    quaternion = table[np.arange(len(flat)), largest]
    quaternion /= np.linalg.norm(quaternion, axis=1, keepdims=True)
    quaternion[quaternion[:, 3] < 0] *= -1
    sine = np.linalg.norm(quaternion[:, :3], axis=1)
    angle = 2 * np.arctan2(sine, quaternion[:, 3])
    # For tiny angles angle / sin(angle / 2) tends to 2.
    factor = np.where(sine > _TINY, angle / np.maximum(sine, _TINY), 2.0)
    return (quaternion[:, :3] * factor[:, None]).reshape(m.shape[:-1])


def pose_to_transform(pose: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Rotation [..., 3, 3] and translation [..., 3], float64, of poses [..., 9] (rot6d) or [..., 6] (rotvec)."""
    rotation = rot6d_to_matrix(pose[..., 3:]) if pose.shape[-1] == 9 else rotvec_to_matrix(pose[..., 3:])
    return rotation, pose[..., :3].astype(np.float64)


def transform_to_pose(rotation: np.ndarray, translation: np.ndarray, dims: int) -> np.ndarray:
    """Poses [..., dims] of float rotations [..., 3, 3] and translations [..., 3].

    `dims` is 9 with rot6d or 6 with rotation vectors (radians).
    """
    turned = matrix_to_rot6d(rotation) if dims == 9 else matrix_to_rotvec(rotation)
    return np.concatenate([translation, turned], axis=-1)


def relative_pose(pose: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """Poses [..., H, D] seen from `reference` [..., D]: inverse(T_reference) T_pose, float64 in the same format."""
    rotation, translation = pose_to_transform(pose)
    rotation_ref, translation_ref = pose_to_transform(reference[..., None, :])
    inverse = np.swapaxes(rotation_ref, -1, -2)
    moved = (inverse @ (translation - translation_ref)[..., None])[..., 0]
    return transform_to_pose(inverse @ rotation, moved, pose.shape[-1])


def absolute_pose(pose: np.ndarray, reference: np.ndarray) -> np.ndarray:
    """The inverse of `relative_pose`: T_reference T_pose, float64 [..., H, D], for a reference [..., D]."""
    rotation, translation = pose_to_transform(pose)
    rotation_ref, translation_ref = pose_to_transform(reference[..., None, :])
    moved = (rotation_ref @ translation[..., None])[..., 0] + translation_ref
    return transform_to_pose(rotation_ref @ rotation, moved, pose.shape[-1])


def _unit(vectors: np.ndarray) -> np.ndarray:
    length = np.sqrt(_dot(vectors, vectors))
    if not (length > _TINY).all():
        raise DataError(
            "a rot6d describes no rotation: its two rows are zero or parallel; "
            "check that the pose columns hold xyz and then the first two rows of the rotation matrix"
        )
    return vectors / length


def _dot(one: np.ndarray, other: np.ndarray) -> np.ndarray:
    """Scalar products [..., 1], summed in float64 and rounded to the vectors' dtype, as BLAS does it for short
    vectors.
    """
    return (one * other).sum(-1, keepdims=True, dtype=np.float64).astype(one.dtype)


def _nearest_rotation(matrix: np.ndarray) -> np.ndarray:
    """The rotations nearest to nearly orthogonal matrices [..., 3, 3] (Schonemann, Psychometrika 1966)."""
    left, _, right = np.linalg.svd(matrix)
    return left @ right
