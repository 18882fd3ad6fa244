"""Rules for the names of addresses, choices and spaces; every other name is refused here.

A space may come from a stranger, and its names are used in modules, files, tables, web pages and
terminals. No such place is trusted to escape a name. A name with a special meaning in any of them
is therefore refused when a graph, a choice or a space is made, and so also when a file is read.
"""

from __future__ import annotations

import keyword
import re
import unicodedata
from functools import lru_cache

LONGEST_ADDRESS = 200
LONGEST_NAME = 200
LONGEST_TEXT = 1000

RESERVED = ("output", "self", "torch", "nn")

_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)*")
_FORMULA = ("=", "+", "-", "@")  # a spreadsheet takes a text that begins with these as a formula


class InvalidName(ValueError):
    """The error for a name that no part of a search space may have."""


@lru_cache(maxsize=1 << 16)
def require_address(address: str) -> None:
    """Raise `InvalidName` if `address` cannot be the address of a node.

    An address is a dotted path such as `stage1.block0.conv1`. Its parts consist of letters and
    digits of any script, `_` and `-`, in Unicode's normal form NFKC. It has at most 200 characters.
    """
    _require_text("a node's address", address, LONGEST_ADDRESS)
    if not (_ADDRESS.fullmatch(address) and unicodedata.is_normalized("NFKC", address)):
        raise InvalidName(
            "a node's address must be letters, digits, '_' and '-' in parts joined by '.', such "
            f"as 'stage1.block0.conv1', in Unicode's form NFKC, given {_shown(address)}; rename it"
        )


@lru_cache(maxsize=1 << 16)
def require_input_name(name: str) -> None:
    """Raise `InvalidName` if `name` cannot be the name of an input of a network.

    The name becomes the name of a tensor in files and of an argument in generated Python code. It
    is therefore a Python identifier of ASCII letters, digits and `_` that begins with a letter and
    is neither a keyword nor one of `RESERVED`. It has at most 200 characters.
    """
    _require_text("the name of an input", name, LONGEST_NAME)
    plain = name.isascii() and name.isidentifier() and not name.startswith("_")
    if not plain or keyword.iskeyword(name) or name in RESERVED:
        raise InvalidName(
            "the name of an input must be an identifier of ASCII letters, digits and '_' that "
            "begins with a letter, no keyword of Python and none of "
            f"{', '.join(RESERVED)}, given {_shown(name)}; rename it"
        )


@lru_cache(maxsize=1 << 16)
def require_name(what: str, name: str) -> None:
    """Raise `InvalidName` if `name` cannot be the name of a choice or a space.

    A name has 1 to 200 printable characters and no space at its ends. It begins with none of
    `= + - @`, since a spreadsheet would take the cell for a formula.

    Args:
        what: The part that has the name, such as `a choice`, for the error.
        name: The name.
    """
    _require_text(what, name, LONGEST_NAME)
    if not name or name != name.strip() or name.startswith(_FORMULA):
        raise InvalidName(
            f"{what} must have a name without space at its ends that begins with none of "
            f"{' '.join(_FORMULA)}, given {_shown(name)}; rename it"
        )


def require_text(what: str, text: str) -> None:
    """Raise `InvalidName` if `text`, an option or a field of an operator, is not printable.

    A text has at most 1,000 characters. Not printable are control characters, marks for the
    direction of writing, lone surrogates, and every space other than the common one.
    """
    _require_text(what, text, LONGEST_TEXT)


def _require_text(what: str, text: object, longest: int) -> None:
    if not isinstance(text, str):
        raise InvalidName(f"{what} must be a text, given {text!r}")
    if len(text) > longest:
        raise InvalidName(
            f"{what} must have at most {longest} characters, given {len(text)}: {_shown(text)}"
        )
    if not text.isprintable():
        raise InvalidName(
            f"{what} must be printable characters without control characters, given "
            f"{_shown(text)}; rename it"
        )


def _shown(text: str) -> str:
    """A refused name in ASCII, so that a message cannot do the harm for which it was refused."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
