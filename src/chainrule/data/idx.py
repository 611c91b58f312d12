"""The IDX file format: how MNIST's authors store an array of bytes.

An IDX file is a header followed by the values in row-major order. The header has two zero bytes, one byte for the type
of the values (8 for unsigned bytes), one byte for the number of dimensions, and each dimension as a big-endian 32-bit
integer. The files are usually compressed with gzip. Everything in a file is validated before it is used: a damaged or
hostile file is an error, and never costs more memory than the file that is expected.
"""

from __future__ import annotations

import gzip
import io
import math
import struct
import zlib

import numpy as np
from numpy.typing import NDArray

from chainrule.core.errors import DataError

__all__ = ["read_idx", "read_shape", "unpack"]

_GZIP_MAGIC = b"\x1f\x8b"
_MAX_DIMENSIONS = 8  # NumPy has at most 64, and no dataset more than 4


def unpack(content: bytes, *, limit: int, name: str) -> bytes:
    """The unpacked bytes of a gzip file, or `content` itself if it is not compressed.

    The first bytes decide, not the file's name: some browsers unpack a download and keep the ``.gz`` in its name.

    Args:
        content: a file's bytes.
        limit: unpacking stops after this many bytes, so that a small file cannot unpack to something huge.
        name: the file's name in an error.

    Raises:
        DataError: the gzip file is truncated or corrupt.
    """
    if not content.startswith(_GZIP_MAGIC):
        return content
    try:
        with gzip.GzipFile(fileobj=io.BytesIO(content)) as file:
            return file.read(limit)
    except (EOFError, OSError, zlib.error) as error:
        raise DataError(
            f"{name} is not a complete gzip file: {error}. Its {len(content):,} bytes may be truncated or corrupt."
        ) from error


def read_shape(content: bytes, *, name: str) -> tuple[int, ...]:
    """The shape that an IDX header declares; the values after it are not read.

    Raises:
        DataError: the bytes do not start with an IDX header for unsigned bytes.
    """
    dimensions = content[3] if len(content) > 3 and content.startswith(b"\0\0\x08") else 0
    if not 0 < dimensions <= _MAX_DIMENSIONS:
        raise DataError(
            f"{name} is not an IDX file of unsigned bytes: expected it to start with the bytes 00 00 08 and a number "
            f"of dimensions from 1 to {_MAX_DIMENSIONS}, got {content[:4].hex(' ') or 'an empty file'}."
        )
    if len(content) < 4 + 4 * dimensions:
        raise DataError(
            f"{name} is truncated: expected an IDX header of {4 + 4 * dimensions} bytes, got {len(content)} bytes."
        )
    return struct.unpack_from(f">{dimensions}I", content, 4)


def read_idx(content: bytes, *, name: str) -> NDArray[np.uint8]:
    """The array in the unpacked bytes of an IDX file.

    Args:
        content: the whole file. The array is a read-only view of it.
        name: the file's name in an error.

    Returns:
        An array of the shape in the header: (n, height, width) for images, (n,) for labels.

    Raises:
        DataError: the bytes are not an IDX file, or more or fewer than its header declares.

    >>> read_idx(bytes([0, 0, 8, 1, 0, 0, 0, 3, 7, 2, 9]), name="labels")
    array([7, 2, 9], dtype=uint8)
    """
    shape = read_shape(content, name=name)
    start = 4 + 4 * len(shape)
    declared = math.prod(shape)  # Python integers cannot overflow
    if len(content) - start != declared:
        raise DataError(
            f"{name} is truncated or corrupt: its header declares {' x '.join(map(str, shape))} values, so expected "
            f"{declared:,} bytes after the header, got {len(content) - start:,}."
        )
    try:
        return np.frombuffer(content, dtype=np.uint8, offset=start).reshape(shape)
    except ValueError as error:  # no values, as one dimension is 0, but the others are too large for NumPy
        raise DataError(f"{name} is corrupt: its header declares {' x '.join(map(str, shape))} values.") from error
