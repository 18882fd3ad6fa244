"""What the parts of a search space may be called; everything else is refused here.

A space may come from a stranger, and its names go on to modules, files, tables, pages and
terminals. None of these is trusted to escape them: a name that could mean more than itself in any
of them is refused when a graph, a choice or a space is made, and so when one is read.
"""

from __future__ import annotations

import re
import unicodedata
from functools import lru_cache

LONGEST_ADDRESS = 200
LONGEST_NAME = 200
LONGEST_TEXT = 1000

_ADDRESS = re.compile(r"[\w-]+(\.[\w-]+)*")
_FORMULA = ("=", "+", "-", "@")  # what a spreadsheet takes the first character of a formula to be


class InvalidName(ValueError):
    """A name that a part of a search space cannot have."""


@lru_cache(maxsize=1 << 16)
def require_address(address: str) -> None:
    """Raise `InvalidName` if a node cannot be at `address`.

    An address is a dotted path such as `stage1.block0.conv1`: parts of letters and digits of any
    script, `_` and `-`, in Unicode's normal form NFKC, at most 200 characters in all.
    """
    _require_text("a node's address", address, LONGEST_ADDRESS)
    if not (_ADDRESS.fullmatch(address) and unicodedata.is_normalized("NFKC", address)):
        raise InvalidName(
            "a node's address must be letters, digits, '_' and '-' in parts joined by '.', such "
            f"as 'stage1.block0.conv1', in Unicode's form NFKC, given {_shown(address)}; rename it"
        )


@lru_cache(maxsize=1 << 16)
def require_name(what: str, name: str) -> None:
    """Raise `InvalidName` if `what` (a choice, a space) cannot be called `name`.

    A name is 1 to 200 printable characters without space at its ends, and begins with none of
    `= + - @`, which make a formula of a table's cell.
    """
    _require_text(what, name, LONGEST_NAME)
    if not name or name != name.strip() or name.startswith(_FORMULA):
        raise InvalidName(
            f"{what} must have a name without space at its ends that begins with none of "
            f"{' '.join(_FORMULA)}, given {_shown(name)}; rename it"
        )


def require_text(what: str, text: str) -> None:
    """Raise `InvalidName` if `text`, an option or a field of an operator, is not printable.

    At most 1,000 characters; control characters, directions of writing and halves of characters
    are not printable, nor is any space but the common one.
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
    """A refused name in ASCII, so that a message cannot do what the name would have done."""
    return ascii(text if len(text) <= 60 else text[:57] + "...")
