"""IDX and gzip: right data or a DataError, for any bytes, within the memory that the data needs."""

import gzip
import re
import struct
import tracemalloc

import numpy as np
import pytest
from data.tiny_dataset import idx_bytes, make_contents, make_spec
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from chainrule.core.errors import DataError
from chainrule.data.idx import read_idx, read_shape, unpack
from chainrule.data.specs import verify

SPEC = make_spec("tiny", make_contents(0))
IMAGES, LABELS = SPEC.files[:2]
RAW = make_contents(0)[IMAGES.name]
PACKED = gzip.compress(RAW, mtime=0)


@given(arrays.arrays(np.uint8, arrays.array_shapes(min_dims=1, max_dims=4, min_side=0)))
def test_what_is_written_is_read(array):
    content = idx_bytes(array)
    result = read_idx(content, name="file")
    assert result.dtype == np.uint8
    np.testing.assert_array_equal(result, array)
    np.testing.assert_array_equal(
        read_idx(unpack(gzip.compress(content), limit=10**6, name="file"), name="file"), array
    )


@given(st.integers(0, len(RAW) - 1))
def test_a_truncated_file_is_an_error(length):
    with pytest.raises(DataError, match="some file"):
        read_idx(RAW[:length], name="some file")


@given(st.binary(max_size=64))
def test_any_bytes_give_an_error_or_an_array_of_just_these_bytes(content):
    for candidate in (content, b"\0\0\x08" + content):
        try:
            array = read_idx(candidate, name="file")
        except DataError:
            continue
        assert candidate.endswith(array.tobytes())
        assert len(candidate) == array.size + 4 + 4 * array.ndim


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "got an empty file"),
        (b"<html>", "got 3c 68 74 6d"),
        (b"\0\0\x0d\x01\0\0\0\x01\0\0\0\0", "got 00 00 0d 01"),  # floats
        (b"\0\0\x08\x00", "got 00 00 08 00"),  # no dimensions
        (b"\0\0\x08\x03\0\0", "expected an IDX header of 16 bytes, got 6 bytes"),
        (b"\0\0\x08\x01\0\0\0\x03ab", "declares 3 values, so expected 3 bytes after the header, got 2"),
        (b"\0\0\x08\x01\0\0\0\x03abcd", "declares 3 values, so expected 3 bytes after the header, got 4"),
    ],
)
def test_errors_say_file_expected_and_got(content, message):
    with pytest.raises(DataError, match=re.escape(message)) as caught:
        read_idx(content, name="the-file")
    assert "the-file" in str(caught.value)


def test_a_header_that_claims_exabytes_allocates_nothing():
    huge = b"\0\0\x08\x04" + struct.pack(">4I", *[2**32 - 1] * 4)
    assert read_shape(huge, name="file") == (2**32 - 1,) * 4
    tracemalloc.start()
    with pytest.raises(DataError, match="got 0"):
        read_idx(huge, name="file")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 1e6


def test_a_gzip_bomb_stops_at_the_limit():
    bomb = gzip.compress(bytes(50_000_000))
    assert len(bomb) < 100_000
    tracemalloc.start()
    result = unpack(bomb, limit=1000, name="bomb")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert result == bytes(1000)
    assert peak < 2e6
    with pytest.raises(DataError, match="more than"):
        verify(bomb, LABELS, origin="bomb")


def test_raw_bytes_pass_through_whatever_the_name():
    assert verify(RAW, IMAGES, origin="train-images-idx3-ubyte.gz") == RAW
    assert verify(PACKED, IMAGES, origin="train-images-idx3-ubyte") == RAW


@given(st.integers(0, len(PACKED) - 1))
def test_a_truncated_gzip_file_is_an_error(length):
    with pytest.raises(DataError):
        verify(PACKED[:length], IMAGES, origin="file")


@given(st.integers(0, 8 * len(PACKED) - 1))
def test_a_flipped_bit_in_gzip_is_an_error_or_does_not_matter(bit):
    damaged = bytearray(PACKED)
    damaged[bit // 8] ^= 1 << bit % 8
    try:
        assert verify(bytes(damaged), IMAGES, origin="file") == RAW
    except DataError:
        assert bit // 8 != 9  # byte 9 names the operating system, which nothing depends on


@given(st.integers(0, 8 * len(RAW) - 1))
def test_a_flipped_bit_in_a_raw_file_is_an_error(bit):
    damaged = bytearray(RAW)
    damaged[bit // 8] ^= 1 << bit % 8
    with pytest.raises(DataError):
        verify(bytes(damaged), IMAGES, origin="file")


@given(st.binary(max_size=200))
def test_any_gzip_like_bytes_give_an_error(tail):
    with pytest.raises(DataError):
        verify(b"\x1f\x8b\x08" + tail, IMAGES, origin="file")


def test_a_truncated_gzip_file_is_called_one():
    with pytest.raises(DataError, match=r"train\.gz is not a complete gzip file"):
        verify(PACKED[:-5], IMAGES, origin="train.gz")


def test_bytes_after_the_data_are_an_error():
    with pytest.raises(DataError, match="got more than"):
        verify(gzip.compress(RAW + b"x"), IMAGES, origin="file")
    with pytest.raises(DataError, match="not a complete gzip file"):
        verify(PACKED + b"rubbish", IMAGES, origin="file")
