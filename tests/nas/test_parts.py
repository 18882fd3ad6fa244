"""The table of parts: what is shipped, registered and installed, and what is refused."""

from __future__ import annotations

import gc
import importlib.metadata
import subprocess
import sys
from collections.abc import Iterator

import pytest

from nas import parts
from nas.parts import SHIPPED, PartError, Parts, register
from search_spaces.ops import Conv2d, Op


@pytest.fixture(autouse=True)
def unchanged_table(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for kind in SHIPPED:
        monkeypatch.setitem(parts._registered, kind, {})
    parts._installed.cache_clear()
    yield
    parts._installed.cache_clear()


def test_every_shipped_part_is_where_the_table_says():
    pytest.importorskip("numba")
    for kind in SHIPPED:
        assert all(Parts(kind)[name] is not None for name in Parts(kind))


def test_the_table_imports_no_part():
    script = (
        "import sys; from nas.parts import SHIPPED, Parts\n"
        "kinds = [kind for kind in SHIPPED if kind != 'operator']  # known by their classes\n"
        "assert all(name in Parts(kind) for kind in kinds for name in Parts(kind))\n"
        "print({name.split('.')[0] for name in sys.modules} & {'torch', 'numpy', 'pydantic'})"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "set()"


def test_a_registered_part_is_found_by_its_name():
    @register("searcher", "mine")
    def mine():
        return 3

    assert Parts("searcher")["mine"] is mine
    assert [*Parts("searcher")][-1] == "mine"
    assert Parts("searcher").default != "mine"
    assert "mine" not in Parts("predictor")


def test_an_object_is_registered_by_a_call():
    mine = object()
    assert register("export-form", "mine")(mine) is mine
    assert Parts("export-form")["mine"] is mine


def test_a_taken_name_is_refused_and_a_module_imported_again_is_not():
    def made(reply: int):
        def mine():
            return reply

        return mine

    def other():
        return 0

    with pytest.raises(PartError, match=r"name of nas\.search\.guided:guided; rename yours"):
        register("searcher", "guided")(other)
    register("searcher", "mine")(made(1))
    register("searcher", "mine")(made(2))
    assert Parts("searcher")["mine"]() == 2
    with pytest.raises(PartError, match=r"other has the name of .*mine; rename yours"):
        register("searcher", "mine")(other)


def test_unknown_kinds_and_names_are_refused_with_all_that_there_are():
    with pytest.raises(PartError) as raised:
        Parts("searchers")
    assert all(kind in str(raised.value) for kind in SHIPPED)
    with pytest.raises(PartError, match="no kind of parts 'searchers'"):
        register("searchers", "mine")
    with pytest.raises(PartError) as raised:
        Parts("searcher")["mine"]
    assert all(name in str(raised.value) for name in SHIPPED["searcher"])
    with pytest.raises(PartError, match=r"letters, digits.*given 'my searcher'"):
        register("searcher", "my searcher")


def installed(monkeypatch: pytest.MonkeyPatch, name: str, value: str) -> None:
    """Let the entry point `name` of a package be installed."""
    entry = importlib.metadata.EntryPoint(name, value, parts.GROUP)
    monkeypatch.setattr(parts, "entry_points", lambda group: [entry])


def test_a_part_of_an_installed_package_is_imported_when_it_is_asked_for(monkeypatch):
    installed(monkeypatch, "searcher.theirs", "string:ascii_letters")
    assert "theirs" in Parts("searcher")
    assert Parts("searcher")["theirs"].startswith("abc")


@pytest.mark.parametrize(
    ("name", "value", "told"),
    [
        ("searcher.theirs", "no_such_module:make", "'theirs' of no_such_module:make .*ModuleNot"),
        ("searcher.theirs", "string:no_such_name", "'theirs' of string:no_such_name .*Attribute"),
        ("searcher.guided", "string:digits", "has the name of nas.search.guided:guided; uninst"),
        ("guided", "string:digits", "must be called KIND.NAME, where KIND is one of operator, "),
        ("searchers.mine", "string:digits", "must be called KIND.NAME"),
    ],
)
def test_a_broken_package_is_named(monkeypatch, name, value, told):
    installed(monkeypatch, name, value)
    with pytest.raises(PartError, match=told):
        Parts("searcher")["theirs"]


def test_an_operator_is_known_by_its_class_and_may_not_have_a_shipped_name():
    class Whisper(Op):
        pass

    assert Parts("operator")["Whisper"] is Whisper
    assert Parts("operator")["Conv2d"] is Conv2d
    made = type("Conv2d", (Op,), {})
    with pytest.raises(PartError, match=r"test_parts:Conv2d has the name of a shipped one; rename"):
        Parts("operator")["Conv2d"]
    del made
    gc.collect()
    assert Parts("operator")["Conv2d"] is Conv2d
