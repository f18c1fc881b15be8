"""Rotations and relative poses, against slow versions that use quaternions and 4x4 matrices."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from groot_ray.errors import DataError
from groot_ray.model.shared import rotation

_axis = st.tuples(*[st.floats(-1, 1)] * 3).filter(lambda v: sum(x * x for x in v) > 1e-4)
_angle = st.one_of(st.floats(0, math.pi), st.floats(math.pi - 1e-6, math.pi), st.floats(0, 1e-7))
_position = st.tuples(*[st.floats(-2, 2)] * 3)


def _rotvec(axis: tuple, angle: float) -> np.ndarray:
    vector = np.array(axis)
    return vector / np.linalg.norm(vector) * angle


def _slow_matrix(rotvec: np.ndarray) -> np.ndarray:
    """A rotation vector's matrix column by column, by turning the axes with quaternions."""
    angle = math.sqrt(sum(x * x for x in rotvec))
    axis = [x / angle for x in rotvec] if angle else [0.0, 0.0, 1.0]
    q = [math.cos(angle / 2), *(math.sin(angle / 2) * x for x in axis)]

    def times(a: list[float], b: list[float]) -> list[float]:
        return [
            a[0] * b[0] - a[1] * b[1] - a[2] * b[2] - a[3] * b[3],
            a[0] * b[1] + a[1] * b[0] + a[2] * b[3] - a[3] * b[2],
            a[0] * b[2] - a[1] * b[3] + a[2] * b[0] + a[3] * b[1],
            a[0] * b[3] + a[1] * b[2] - a[2] * b[1] + a[3] * b[0],
        ]

    columns = []
    for i in range(3):
        unit = [0.0, *(1.0 if j == i else 0.0 for j in range(3))]
        columns.append(times(times(q, unit), [q[0], -q[1], -q[2], -q[3]])[1:])
    return np.array(columns).T


@given(_axis, _angle)
def test_matrix_of_a_rotation_vector(axis: tuple, angle: float) -> None:
    vector = _rotvec(axis, angle)
    np.testing.assert_allclose(rotation.rotvec_to_matrix(vector), _slow_matrix(vector), atol=1e-12)


@given(_axis, _angle)
def test_rotation_vector_of_a_matrix(axis: tuple, angle: float) -> None:
    vector = _rotvec(axis, angle)
    back = rotation.matrix_to_rotvec(rotation.rotvec_to_matrix(vector))
    # At half a turn an axis and its opposite are the same rotation.
    error = min(np.abs(back - vector).max(), np.abs(back + vector).max() if angle > math.pi - 1e-5 else np.inf)
    assert error < 1e-7
    np.testing.assert_allclose(rotation.rotvec_to_matrix(back), rotation.rotvec_to_matrix(vector), atol=1e-12)


@given(_axis, _angle, st.floats(0.1, 10), st.floats(-3, 3))
def test_rot6d_is_read_whatever_its_length_and_slant(axis: tuple, angle: float, length: float, slant: float) -> None:
    matrix = _slow_matrix(_rotvec(axis, angle))
    rows = rotation.matrix_to_rot6d(matrix)
    np.testing.assert_array_equal(rows, [*matrix[0], *matrix[1]])
    np.testing.assert_allclose(rotation.rot6d_to_matrix(rows), matrix, atol=1e-12)
    changed = np.concatenate([rows[:3] * length, rows[3:] + slant * rows[:3]])
    np.testing.assert_allclose(rotation.rot6d_to_matrix(changed), matrix, atol=1e-9)


@given(_axis, _angle)
def test_rounded_rot6d_is_the_nearest_rotation(axis: tuple, angle: float) -> None:
    matrix = _slow_matrix(_rotvec(axis, angle))
    read = rotation.rot6d_to_matrix(rotation.matrix_to_rot6d(matrix).astype(np.float32))
    assert read.dtype == np.float64
    np.testing.assert_allclose(read @ read.T, np.eye(3), atol=1e-14)
    assert np.linalg.det(read) > 0
    np.testing.assert_allclose(read, matrix, atol=5e-7)


@pytest.mark.parametrize("dims", [6, 9])
@given(st.lists(st.tuples(_position, _axis, _angle), min_size=3, max_size=3))
def test_relative_poses_are_products_of_transforms_and_go_back(dims: int, poses: list) -> None:
    def pose(position: tuple, axis: tuple, angle: float) -> np.ndarray:
        vector = _rotvec(axis, min(angle, 3.0))
        turned = vector if dims == 6 else rotation.matrix_to_rot6d(_slow_matrix(vector))
        return np.concatenate([position, turned])

    def transform(values: np.ndarray) -> np.ndarray:
        matrix = np.eye(4)
        matrix[:3, :3] = _slow_matrix(values[3:]) if dims == 6 else rotation.rot6d_to_matrix(values[3:])
        matrix[:3, 3] = values[:3]
        return matrix

    chunk, reference = np.stack([pose(*p) for p in poses[:2]]), pose(*poses[2])
    relative = rotation.relative_pose(chunk, reference)
    for one, moved in zip(chunk, relative, strict=True):
        np.testing.assert_allclose(transform(moved), np.linalg.inv(transform(reference)) @ transform(one), atol=1e-6)
    back = rotation.absolute_pose(relative, reference)
    for one, again in zip(chunk, back, strict=True):
        np.testing.assert_allclose(transform(again), transform(one), atol=1e-6)
    batch = rotation.relative_pose(np.stack([chunk, chunk + 0.0]), np.stack([reference, reference]))
    np.testing.assert_allclose(batch, [relative, relative], atol=1e-12)


@pytest.mark.parametrize("rows", [[0, 0, 0, 0, 1, 0], [1, 0, 0, 2, 0, 0]])
def test_a_rot6d_without_a_rotation_is_refused(rows: list) -> None:
    with pytest.raises(DataError, match="describes no rotation"):
        rotation.rot6d_to_matrix(np.array(rows, dtype=np.float32))
