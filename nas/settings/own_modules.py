"""A user's own modules: a recipe names them under `python`, and they add parts to the table.

Importing a module runs its code. Modules are therefore imported only from a recipe that the user
names. The recipe in a run folder may come from another person: its modules must have been imported
already, by the recipe at hand or by the program, unless the user says with `--trust` that the
folder is trusted.
"""

from __future__ import annotations

import contextlib
import importlib
import importlib.util
import sys
from collections.abc import Iterator, Sequence
from contextvars import ContextVar
from pathlib import Path

from nas.parts import PartError

_SUFFIX = ".py"
_trusting = ContextVar("_trusting", default=False)
_imported: dict[str, None] = {}


@contextlib.contextmanager
def trusting(trust: bool) -> Iterator[None]:  # a flag of the command line
    """A context in which the modules that run folders name are imported, if `trust` is true."""
    before = _trusting.set(trust)
    try:
        yield
    finally:
        _trusting.reset(before)


def imported_modules() -> tuple[str, ...]:
    """The modules that recipes made this process import, for its workers to import."""
    return tuple(_imported)


def import_modules(python: Sequence[str], *, beside: Path) -> tuple[str, ...]:
    """Import the modules of a recipe and return their names, with paths made absolute.

    Args:
        python: Names of installed modules, such as `mine.parts`, and paths of files that end in
            `.py`.
        beside: The folder to which paths are relative.

    Raises:
        PartError: A name is no module's, a file does not exist or has the name of another module,
            or a module cannot be imported.
    """
    found = tuple(
        str((beside / Path(text).expanduser()).resolve()) if text.endswith(_SUFFIX) else text
        for text in python
    )
    for text in found:
        _import(text)
        _imported[text] = None
    return found


def require_imported(python: Sequence[str], *, source: str) -> None:
    """Refuse the modules of a recipe that nobody named and that are not imported yet.

    Args:
        python: The modules, as `import_modules` returned them.
        source: The recipe, for errors.

    Raises:
        PartError: A module is not imported, and run folders are not trusted.
    """
    absent = [text for text in python if _name(text) not in sys.modules]
    if _trusting.get():
        import_modules(absent, beside=Path())
    elif absent:
        raise PartError(
            f"{source} names modules of its author, {', '.join(absent)}; importing them would run "
            "their code, so they are not imported from a run folder; name them under python in a "
            "recipe of your own or, if you trust the author, add --trust"
        )


def _name(text: str) -> str:
    name = Path(text).stem if text.endswith(_SUFFIX) else text
    if not all(part.isidentifier() for part in name.split(".")):
        raise PartError(
            f"python = {text!r} names no module; give the name of an installed module, such as "
            "mine.parts, or the path of a file, such as ./mine.py, named by letters, digits and _"
        )
    return name


def _import(text: str) -> None:
    name = _name(text)
    try:
        if not text.endswith(_SUFFIX):
            importlib.import_module(name)
        elif _is_free(name, Path(text)):
            _run(name, Path(text))
    except PartError:
        raise
    except (Exception, SystemExit) as error:
        raise PartError(
            f"python = {text!r} cannot be imported: {type(error).__name__}: {error}"
        ) from error


def _is_free(name: str, path: Path) -> bool:
    """Whether the module is still to be imported; refuses the name of another module."""
    if not path.is_file():
        raise PartError(f"python = {str(path)!r}: there is no such file; correct the path")
    held = sys.modules.get(name)
    spec = importlib.util.find_spec(name) if held is None else held.__spec__
    origin = getattr(held, "__file__", None) or (spec.origin if spec else None)
    if (held, spec) != (None, None) and (origin is None or Path(origin).resolve() != path):
        raise PartError(
            f"python = {str(path)!r}: there is another module {name!r}, {origin or 'built in'}; "
            "rename your file"
        )
    return held is None


def _run(name: str, path: Path) -> None:
    """Import the file at `path` as the module `name`."""
    spec = importlib.util.spec_from_file_location(name, path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules[name] = module  # where classes and pickles look for their module
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
