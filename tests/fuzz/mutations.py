"""Ways to damage a file: bits, blocks, numbers, words, and the structure of the formats that our readers know.

Every mutation takes a random generator and bytes, and gives bytes; what it cannot make sense of, it gives back as it
is. The same generator state gives the same damage.
"""

from __future__ import annotations

import gzip
import io
import json
import re
import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from random import Random
from typing import Any

Mutation = Callable[[Random, bytes], bytes]

NUMBERS = (0, 1, -1, 127, 128, 255, 2**15, 2**16, 2**31 - 1, 2**31, 2**32 - 1, 2**53, 2**63 - 1, 2**63, 2**64 - 1)
_LONGEST = 200_000  # bytes: blocks that are repeated again and again stop growing here

# What a value in JSON can be instead: of another type, empty, huge, nested, or text that means something elsewhere.
VALUES: tuple[Any, ...] = (
    *(None, True, False, "", [], {}, [[]], {"a": {}}, [None], 0.5, -0.0, 1e308, 5e-324, 10**400, -(10**400)),
    *(float("nan"), float("inf"), "x", "1", "1e3", "nan", "-inf", "0x1p-3", "null", "a" * 300, "\ud800", "é\0"),
    *("../../x", "/etc/passwd", "~root", ".", "\x1b[31m", "\u202e", "<script>alert(1)</script>", "2024-13-45"),
    *("0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59", *NUMBERS, *(-number for number in NUMBERS)),
)
# What a word of a text can be instead.
WORDS = (
    *(b"", b"-", b"0", b"-1", b"1e999", b"-0.0", b"NaN", b"Infinity", b"null", b"true", b"9" * 400, b"9" * 5000, b"~"),
    *(
        b"18446744073709551616",
        b"\0",
        b"\xff\xfe",
        b"\xef\xbb\xbf",
        b"\xed\xa0\x80",
        b"\x1b[2J",
        b"<b>",
        b"../..",
        b"\r",
    ),
    *(b"[" * 3000, b'{"a":' * 3000, b"{", b"}", b"]", b'"', b"\\", b"\n", b":", b",", b"\xe2\x80\xa8", b"\x85"),
)

_NUMBER = re.compile(rb"-?\d+(?:\.\d+)?(?:[eE][-+]?\d+)?")
_WORD = re.compile(rb"\w+|\W")


def flip_bits(random: Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8)) if content else 0):
        damaged[random.randrange(len(damaged))] ^= 1 << random.randrange(8)
    return bytes(damaged)


def set_bytes(random: Random, content: bytes) -> bytes:
    damaged = bytearray(content)
    for _ in range(random.choice((1, 1, 2, 8)) if content else 0):
        damaged[random.randrange(len(damaged))] = random.choice((0, 1, 0x7F, 0x80, 0xFF, random.randrange(256)))
    return bytes(damaged)


def set_number(random: Random, content: bytes) -> bytes:
    """A whole number of 1 to 8 bytes, in either order, somewhere; near the start, where headers are, more often."""
    size, order = random.choice((1, 2, 4, 8)), random.choice(("big", "little"))
    place = random.randrange(min(len(content), random.choice((32, _LONGEST))) + 1)
    value = (random.choice(NUMBERS) % 256**size).to_bytes(size, order)
    return content[:place] + value + content[place + size :]


def cut(random: Random, content: bytes) -> bytes:
    return content[: random.randrange(len(content) + 1)]


def remove_block(random: Random, content: bytes) -> bytes:
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    return content[:start] + content[end:]


def insert(random: Random, content: bytes) -> bytes:
    place = random.randrange(len(content) + 1)
    return content[:place] + random.randbytes(random.choice((1, 2, 4, 30))) + content[place:]


def copy_block(random: Random, content: bytes) -> bytes:
    """A block again at another place, once or many times, over what is there or between it."""
    start, end = sorted(random.randrange(len(content) + 1) for _ in range(2))
    block = content[start:end] * random.choice((1, 1, 2, 50))
    place = random.randrange(len(content) + 1)
    return (content[:place] + block + content[place + random.choice((0, len(block))) :])[:_LONGEST]


def replace_number(random: Random, content: bytes) -> bytes:
    """A number in a text by another."""
    match = _NUMBER.search(content, random.randrange(len(content) + 1)) or _NUMBER.search(content)
    if match is None:
        return content
    number = str(random.choice((*NUMBERS, 1e308, 0.5))).encode()
    return content[: match.start()] + random.choice((b"", b"", b"-")) + number + content[match.end() :]


def replace_word(random: Random, content: bytes, words: Sequence[bytes] = WORDS) -> bytes:
    """A word, number or sign in a text by another, or another before it."""
    match = _WORD.search(content, random.randrange(len(content) + 1))
    if match is None:
        return content + random.choice(words)
    return content[: match.start()] + random.choice(words) + content[random.choice(match.span()) :]


PLAIN: tuple[Mutation, ...] = (
    *(flip_bits, set_bytes, set_number, cut, remove_block, insert, copy_block, replace_number, replace_word),
)


def words_of(*words: bytes) -> Mutation:
    """A mutation that puts in words which mean something to a reader."""
    return lambda random, content: replace_word(random, content, words)


def change_tree(random: Random, tree: Any) -> Any:
    """A value as JSON holds it, with one node replaced, removed, added, wrapped or exchanged for another one."""
    places: list[tuple[Any, Any]] = []

    def collect(node: Any) -> None:
        for key in node if isinstance(node, dict) else range(len(node)) if isinstance(node, list) else ():
            places.append((node, key))
            collect(node[key])

    whole = [tree]
    collect(whole)
    node, key = random.choice(places)
    old = node[key]
    match random.randrange(8):
        case 0 if node is not whole:
            del node[key]
        case 1:
            node[key] = random.choice(([old], {"a": old}, [old, old], str(old)))
        case 2:
            other, name = random.choice(places)
            node[key] = json.loads(json.dumps(other[name]))
        case 3 if isinstance(old, dict):
            old[random.choice(("", "x", "\x1b[31m", "seed", *(str(name) for _, name in places)))] = random.choice(
                VALUES
            )
        case 3 | 4 if isinstance(old, int | float):
            node[key] = random.choice((old + 1, old - 1, -old, 2 * old, float(old), old + 0.5, bool(old)))
        case 4 if isinstance(old, list):
            old.insert(random.randrange(len(old) + 1), random.choice(VALUES))
        case _:
            node[key] = random.choice(VALUES)
    return whole[0]


def change_json(random: Random, content: bytes) -> bytes:
    """A JSON file with a node changed."""
    with suppress(ValueError, RecursionError, OverflowError):
        return json.dumps(change_tree(random, json.loads(content))).encode()
    return content


def change_json_line(random: Random, content: bytes) -> bytes:
    """A file with a JSON value in each line, with a node of one changed."""
    lines = content.splitlines() or [b"{}"]
    place = random.randrange(len(lines))
    return b"\n".join([*lines[:place], change_json(random, lines[place]), *lines[place + 1 :]]) + b"\n"


def inside_gzip(random: Random, content: bytes) -> bytes:
    """A gzip file whose unpacked bytes are damaged, with the right sum over them, or packed in an odd way."""
    with suppress(OSError, EOFError, zlib.error):
        damaged = random.choice(PLAIN)(random, gzip.GzipFile(fileobj=io.BytesIO(content)).read(_LONGEST))
        match random.randrange(6):
            case 0:  # two members, the first of which may be empty
                half = random.choice((0, len(damaged) // 2))
                return gzip.compress(damaged[:half], mtime=0) + gzip.compress(damaged[half:], mtime=0)
            case 1:  # far more than there should be
                return gzip.compress(damaged + bytes(random.choice((1, 5_000_000))), mtime=0)
            case 2:  # packed twice
                return gzip.compress(gzip.compress(damaged, mtime=0), mtime=0)
        return gzip.compress(damaged, mtime=0)
    return content


def split_safetensors(content: bytes) -> tuple[Any, bytes]:
    """The header and the data of a safetensors file.

    Raises:
        ValueError: it is none, or damaged already.
    """
    length = int.from_bytes(content[:8], "little")
    return json.loads(content[8 : 8 + length]), content[8 + length :]


def join_safetensors(header: Any, data: bytes) -> bytes:
    text = json.dumps(header).encode()
    return len(text).to_bytes(8, "little") + text + data


def change_header(random: Random, content: bytes) -> bytes:
    """A safetensors file whose header says something else: offsets, shapes, types, names."""
    with suppress(ValueError, RecursionError, OverflowError, LookupError, TypeError, AttributeError):
        header, data = split_safetensors(content)
        if random.random() < 0.3:
            names = ("F64", "F32", "F16", "BF16", "F8_E4M3", "I64", "U8", "BOOL", "C64", "x")
            entry = random.choice([entry for name, entry in header.items() if name != "__metadata__"])
            entry["dtype"] = random.choice(names)
            entry["shape"] = random.choice((entry["shape"], [random.choice(NUMBERS), 0], [2**62, 4], [], [1] * 40))
        else:
            header = change_tree(random, header)
        return join_safetensors(header, data)
    return content


def change_header_text(random: Random, content: bytes) -> bytes:
    """A safetensors file whose header is damaged as text, with the length that it has then."""
    length = int.from_bytes(content[:8], "little")
    text = random.choice(PLAIN)(random, content[8 : 8 + length])
    return len(text).to_bytes(8, "little") + text + content[8 + length :]
