"""Reads columns of an episode's parquet file as arrays, and checks their presence and width."""

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
    """Open an episode's parquet file; on S3, only the needed ranges are read.

    Raises:
        DataError: the file is missing, truncated or not a parquet file; `where` names the episode.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    from groot_ray.storage import NotFoundError

    try:
        with location.open() as stream, pq.ParquetFile(stream) as file:
            yield file
    except NotFoundError:
        raise DataError(f"{where}: file {location.uri} does not exist, although the episode is listed") from None
    except (pa.ArrowException, OSError) as error:
        raise DataError(
            f"{where}: {location.uri} is truncated or not a parquet file ({' '.join(str(error).split())})"
        ) from None


def read_columns(
    location: Location,
    columns: Sequence[str],
    where: str,
    widths: Mapping[str, int | None] | None = None,
    optional: Iterable[str] = (),
    rows: tuple[int, int] | None = None,
) -> dict[str, np.ndarray]:
    """Read columns of one episode.

    Args:
        columns: names of the columns.
        where: owner of the file, for errors; for example ``"episode 3 of /data/x"``.
        widths: declared number of dimensions of each column, None or absent if unknown.
        optional: columns among them that are left out of the result, without an error, if the file does not have
            them.
        rows: rows [start, stop) of the file that belong to the episode; by default all.

    Returns:
        Arrays by name: [T, W] for list columns, [T] for single values, in the file's type; text as an object array.

    Raises:
        DataError: file missing or truncated; column missing (the message proposes a similar one), of the wrong
            width, or with empty cells.
    """
    optional = set(optional)
    with parquet_file(location, where) as file:
        present = file.schema_arrow.names
        for name in columns:
            if name not in present and name not in optional:
                raise DataError(
                    f"{where}: column {name!r} is missing{did_you_mean(name, present)}; "
                    f"the file has {', '.join(present)}"
                )
        # Episodes are small and many are read in parallel, so Arrow's own threads would only cost time.
        table = _read_rows(file, [name for name in columns if name in present], rows)
    return {
        name: to_array(table.column(name), f"{where}: column {name!r}", (widths or {}).get(name))
        for name in dict.fromkeys(columns)
        if name in present
    }


def _read_rows(file: pq.ParquetFile, columns: list[str], rows: tuple[int, int] | None) -> pa.Table:
    """Columns of the rows [start, stop), from the row groups that hold them; fewer rows if the file ends earlier."""
    if rows is None:
        return file.read(columns=columns, use_threads=False)
    start, stop = rows
    groups: list[int] = []
    first, offset = 0, 0
    for group in range(file.num_row_groups):
        count = file.metadata.row_group(group).num_rows
        if first < stop and first + count > start:
            offset = offset if groups else start - first
            groups.append(group)
        first += count
    return file.read_row_groups(groups, columns=columns, use_threads=False).slice(max(offset, 0), stop - start)


def to_array(column: pa.ChunkedArray, where: str, width: int | None = None) -> np.ndarray:
    """A parquet column as [T] or, for lists, [T, W], of the column's own dtype.

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
    if values.ndim == 3 and values.shape[1] == 1:  # an extra level of nesting, as some recorders write
        values = values[:, 0]
    if width is not None and rows and (values.shape[1:] or (1,)) != (width,):
        found = "x".join(str(n) for n in values.shape[1:]) or "1"
        raise DataError(f"{where} has {found} dimensions, but meta/info.json says {width}")
    return values


def _is_list(kind: pa.DataType) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_list(kind) or pa.types.is_large_list(kind) or pa.types.is_fixed_size_list(kind))


def _lengths(array: Any) -> np.ndarray:
    import numpy as np
    import pyarrow as pa
    import pyarrow.compute as pc

    if pa.types.is_fixed_size_list(array.type):
        return np.full(len(array), array.type.list_size)
    return _values(pc.list_value_length(array))


def _values(array: Any) -> np.ndarray:
    """A flat Arrow array without empty values as numpy's; if possible without `to_numpy`, which imports pandas."""
    import numpy as np
    import pyarrow as pa

    if len(array) and (pa.types.is_integer(array.type) or pa.types.is_floating(array.type)):
        return np.from_dlpack(array)
    values: np.ndarray = array.to_numpy(zero_copy_only=False)
    return values
