"""Ways to damage a file of any format: changes of its bytes and of its text.

A way is a function of the file's bytes and a random generator and returns other bytes. It raises
`NoPlace` if the file has nothing that it could change. A `resealed` way also writes correct
checksums, as another program would. After any other way, content that a checksum covers must be
refused.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np

Rng = np.random.Generator
Change = Callable[[bytes, Rng], bytes]


class NoPlace(Exception):
    """The error for a file that has nothing that a way could change."""


@dataclass(frozen=True)
class Way:
    """One way to damage a file."""

    name: str
    change: Change
    resealed: bool = False


DIGITS = 5000
# Texts in place of a number, and of a word.
NUMBERS = (
    *("0", "-1", "1e308", "-1e308", "1e999", "NaN", "nan", "Infinity", "inf", "1e-320", "0x10"),
    *("9" * DIGITS, "1" + "0" * 18, "4294967296", "2147483648", "65536", "1.5", "", "true", "1_0"),
)
WORDS = (
    *(
        "",
        " ",
        "null",
        "None",
        "\x00",
        "\x1b[31m",
        "\u202e",
        "\ufeff",
        "\u00e9",
        "\U0001f600",
        "[/x]",
    ),
    *(
        "../../x",
        "/etc/hostname",
        "__class__",
        "%s%n",
        "{0}",
        "a" * 10_000,
        'a" if print(1) else "',
    ),
)


def pick(items: Any, rng: Rng) -> Any:
    """A random one of `items`; raises `NoPlace` if there is none."""
    listed = list(items)
    if not listed:
        raise NoPlace
    return listed[int(rng.integers(len(listed)))]


def _span(content: bytes, rng: Rng, most: int = 16) -> slice:
    if not content:
        raise NoPlace
    start = int(rng.integers(len(content)))
    return slice(start, start + int(rng.integers(1, most + 1)))


def _flipped(content: bytes, rng: Rng) -> bytes:
    changed = bytearray(content)
    for _ in range(int(rng.integers(1, 4))):
        changed[_span(content, rng).start] ^= 1 << int(rng.integers(8))
    return bytes(changed)


def _deleted(content: bytes, rng: Rng) -> bytes:
    span = _span(content, rng)
    return content[: span.start] + content[span.stop :]


def _inserted(content: bytes, rng: Rng) -> bytes:
    at, length = _span(content, rng).start, int(rng.integers(1, 9))
    return content[:at] + rng.bytes(length) + content[at:]


def _repeated(content: bytes, rng: Rng) -> bytes:
    span = _span(content, rng, most=200)
    return content[: span.stop] + content[span] + content[span.stop :]


def _zeroed(content: bytes, rng: Rng) -> bytes:
    span = _span(content, rng, most=600)
    return content[: span.start] + bytes(len(content[span])) + content[span.stop :]


def _cut(content: bytes, rng: Rng) -> bytes:
    return content[: int(rng.integers(len(content)))]


def _extended(content: bytes, rng: Rng) -> bytes:
    return content + pick((b"\0", b"\n", b"\n\n", b"}", b"garbage", content), rng)


BYTES = tuple(
    Way(name, change)
    for name, change in (
        *(("bits flipped", _flipped), ("bytes lost", _deleted), ("bytes inserted", _inserted)),
        *(("bytes repeated", _repeated), ("bytes zeroed", _zeroed), ("cut short", _cut)),
        ("bytes behind the end", _extended),
    )
)


def lines(content: bytes, least: int = 2) -> list[bytes]:
    """The lines of a file; raises `NoPlace` if there are fewer than `least`."""
    found = content.splitlines(keepends=True)
    if len(found) < least:
        raise NoPlace
    return found


def _line_lost(content: bytes, rng: Rng) -> bytes:
    found = lines(content)
    del found[int(rng.integers(len(found)))]
    return b"".join(found)


def _lines_swapped(content: bytes, rng: Rng) -> bytes:
    found = lines(content)
    one, other = rng.integers(len(found), size=2)
    found[one], found[other] = found[other], found[one]
    return b"".join(found)


def _line_repeated(content: bytes, rng: Rng) -> bytes:
    found = lines(content)
    found.insert(int(rng.integers(len(found))), pick(found, rng))
    return b"".join(found)


_NUMBER = re.compile(rb"-?\d+(\.\d+)?([eE][-+]?\d+)?")
_WORD = re.compile(rb"[A-Za-z_][\w.-]*")


def _token(content: bytes, rng: Rng, pattern: re.Pattern[bytes], new: str) -> bytes:
    found = pick(pattern.finditer(content), rng)
    return content[: found.start()] + new.encode() + content[found.end() :]


def _number(content: bytes, rng: Rng) -> bytes:
    return _token(content, rng, _NUMBER, pick(NUMBERS, rng))


def _digit(content: bytes, rng: Rng) -> bytes:
    return _token(content, rng, re.compile(rb"\d"), str(rng.integers(10)))


def _word(content: bytes, rng: Rng) -> bytes:
    known = [found.group().decode() for found in _WORD.finditer(content)]
    return _token(content, rng, _WORD, pick([*WORDS, *known[:40]], rng))


def _encoded(content: bytes, rng: Rng) -> bytes:
    text = content.decode()
    return pick(
        (
            b"\xef\xbb\xbf" + content,
            text.encode("utf-16"),
            text.replace("\n", "\r\n").encode(),
            text.replace("\n", "\r").encode(),
            text.replace("\n", "\u2028").encode(),
            text.replace(" ", "\u00a0").encode(),
            content + b"\xff\xfe",
            text.replace("e", "\u0435").encode(),
            text.upper().encode(),
        ),
        rng,
    )


TEXT = tuple(
    Way(name, change)
    for name, change in (
        *(("line lost", _line_lost), ("lines swapped", _lines_swapped)),
        *(("line repeated", _line_repeated), ("number", _number), ("digit", _digit)),
        *(("word", _word), ("encoding", _encoded)),
    )
)
