"""What the parts of a space may be called: as much as is safe, and nothing else."""

import re
from collections.abc import Callable
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from search_spaces.choice import choice
from search_spaces.graph import Graph, Node
from search_spaces.names import InvalidName, require_address, require_name, require_text
from search_spaces.ops import Activation, Input
from search_spaces.space import SearchSpace
from search_spaces.tabular import Decision, tabular_space

ADDRESSES = ["stage1.block0.conv1", "2nd", "a-b", "träge", "x.class.y", "_blocks.0._conv", "層.畳"]
NO_ADDRESSES = [
    *(
        'a" if print("x") else "a',
        "",
        ".",
        "a.",
        ".a",
        "a..b",
        "a/b",
        "a b",
        "a\n",
        "a\x1b[2J",
        "[/x]",
    ),
    *("a'", "a\\", "<b>", "a\u202eb", "ﬁ", "a\ud800", "a\0", "a" * 201, "a;b", "a(b)", "$x$"),
]
NAMES = ["stage0.depth", "op 3 -> 4", "[/x]", "größe", "a/b", "0-1", "<i>", "width (channels)"]
NO_NAMES = [
    "",
    " a",
    "a ",
    "=1+1",
    "@x",
    "+a",
    "-a",
    "a\nb",
    "\x1b[2J",
    "a\u202eb",
    "\ud800",
    "a" * 201,
]
TEXTS = ["", "nor_conv_3x3~0", "-1", "+", "=1+1", "[/x]", "µ"]
NO_TEXTS = ["\x1b[31m", "a\0", "\u202e", "\ud800", "\t", "a" * 1001]


def with_address(address: str) -> object:
    return Graph(Input("image", (1, 4, 4))).add(address, Activation("relu"))


def with_node(address: str) -> object:
    return Graph.from_nodes(
        {"input": Node(Input("image", (1, 4, 4))), address: Node(Activation("relu"))}
    )


def with_choice(name: str) -> object:
    return choice(name, (1, 2))


def with_space(name: str) -> object:
    return SearchSpace(Graph(Input("image", (1, 4, 4))), name=name)


def with_option(text: str) -> object:
    return tabular_space([Decision("operation", (text, "other"), {})], name="table")


def with_field(text: str) -> object:
    return tabular_space([Decision("operation", (text,), {})], name="table")


@pytest.mark.parametrize(
    ("make", "allowed", "refused"),
    [
        (with_address, ADDRESSES, NO_ADDRESSES),
        (with_node, ADDRESSES, NO_ADDRESSES),
        (with_choice, NAMES, NO_NAMES),
        (with_space, NAMES, NO_NAMES),
        (with_option, TEXTS, NO_TEXTS),
        (with_field, TEXTS, NO_TEXTS),
    ],
)
def test_names_are_as_liberal_as_safe(make, allowed, refused):
    for name in allowed:
        make(name)
    for name in refused:
        with pytest.raises(InvalidName) as error:
            make(name)
        assert str(error.value).isprintable()


def taken(text: str, require: Callable[[str], None]) -> bool:
    try:
        require(text)
    except InvalidName:
        return False
    return True


@given(st.text(max_size=30))
def test_what_is_taken_can_do_nothing_in_a_file_or_on_a_terminal(text):
    for require in (require_address, partial(require_name, "a choice")):
        if taken(text, require):
            assert text
            assert text.isprintable()
            assert text.encode().decode() == text
            assert text.strip() == text
        else:
            with pytest.raises(InvalidName) as error:
                require(text)
            assert str(error.value).isprintable()


@given(st.text("ab.-_/\"'\\ \n=()", max_size=8))
def test_an_address_is_a_dotted_path(text):
    expected = re.fullmatch(r"[ab_-]+(\.[ab_-]+)*", text) is not None
    assert taken(text, require_address) == expected


def test_a_name_must_be_a_text():
    with pytest.raises(InvalidName, match="must be a text, given 3"):
        require_text("an option", 3)  # pyright: ignore[reportArgumentType]
