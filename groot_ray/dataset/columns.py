"""Columns of an episode's parquet file as arrays, checked for presence and width."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from groot_ray.errors import DataError, did_you_mean

if TYPE_CHECKING:
    from collections.abc import Iterator

    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    from groot_ray.storage import Location


@contextmanager
def parquet_file(location: Location, where: str) -> Iterator[pq.ParquetFile]:
    """Open an episode's parquet file; on S3 only the ranges that are needed are read.

    Raises:
        DataError: the file is missing, or is no (whole) parquet file; `where` names the episode.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from groot_ray.storage import NotFoundError

    try:
        with location.open() as stream, pq.ParquetFile(stream) as file:
            yield file
    except NotFoundError:
        raise DataError(f"{where}: file {location.uri} is listed in meta/episodes.jsonl but does not exist") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{where}: {location.uri} is truncated or no parquet file ({' '.join(str(error).split())})"
        ) from None


def read_columns(
    location: Location,
    columns: Sequence[str],
    where: str,
    widths: Mapping[str, int | None] | None = None,
    optional: Iterable[str] = (),
) -> dict[str, np.ndarray]:
    """Read columns of one episode.

    Args:
        columns: names of the columns.
        where: what the file belongs to, for errors; for example ``"episode 3 of /data/x"``.
        widths: declared number of dimensions of each column, None or absent where unknown.
        optional: columns among them that are left out of the answer, without an error, where the file does not have them.

    Returns:
        By name: [T, W] for list columns, [T] for single values, in the type that the file has; text as an object array.

    Raises:
        DataError: file missing or truncated; column missing (near names are told), of the wrong width, or with empty cells.
    """
    optional = set(optional)
    with parquet_file(location, where) as file:
        present = file.schema_arrow.names
        for name in columns:
            if name not in present and name not in optional:
                raise DataError(
                    f"{where}: column {name!r} is missing{did_you_mean(name, present)}; the file has {', '.join(present)}"
                )
        # Episodes are small and read by many tasks or threads at once: threads of Arrow's own would only cost time.
        table = file.read(columns=[name for name in columns if name in present], use_threads=False)
    return {
        name: to_array(table.column(name), f"{where}: column {name!r}", (widths or {}).get(name))
        for name in dict.fromkeys(columns)
        if name in present
    }


def to_array(column: pa.ChunkedArray, where: str, width: int | None = None) -> np.ndarray:
    """A parquet column as [T] or, for lists, [T, W].

    Raises:
        DataError: cells are empty, rows have different widths, or the width is not `width`.
    """
    import numpy as np
    import pyarrow as pa

    if column.null_count:
        row = next(i for i, cell in enumerate(column) if not cell.is_valid)
        raise DataError(f"{where} has {column.null_count} empty cell(s), the first at row {row}")
    array: Any = column.combine_chunks()
    if isinstance(array, pa.ChunkedArray):  # an empty column stays chunked
        array = pa.concat_arrays(array.chunks) if array.num_chunks else pa.array([], type=array.type)
    if isinstance(array, pa.ExtensionArray):
        array = array.storage
    rows, counts = len(array), []
    while _is_list(array.type):
        lengths = _lengths(array)
        if len(lengths) and (lengths != lengths[0]).any():
            row = int(np.argmax(lengths != lengths[0]))
            raise DataError(f"{where} has {lengths[row]} dimensions at row {row} but {lengths[0]} before")
        counts.append(int(lengths[0]) if len(lengths) else (width or 0))
        array = array.flatten()
    if array.null_count:
        raise DataError(f"{where} has {array.null_count} empty value(s) within its rows")
    values = _values(array).reshape((rows, *counts))
    if values.ndim == 3 and values.shape[1] == 1:  # one frame nested once more, as some recorders write
        values = values[:, 0]
    if width is not None and rows and (values.shape[1:] or (1,)) != (width,):
        found = "x".join(str(n) for n in values.shape[1:]) or "1"
        raise DataError(f"{where} has {found} dimensions, but meta/info.json says {width}")
    return values


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind)


def _lengths(array: Any) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size)
    return _values(pc.list_value_length(array))


def _values(array: Any) -> np.ndarray:
    """A flat Arrow array without empty values as numpy's; not by `to_numpy` where that can be, which imports pandas (0.4 s, 50 MB)."""
    import numpy as np
    import pyarrow as pa

    if len(array) and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return np.from_dlpack(array)
    return array.to_numpy(zero_copy_only=False)
