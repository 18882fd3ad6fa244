"""The recipes that come with the engine, each with the files that it reads.

The files in the folder `shipped` are links to `runs/` and `examples/` of the repository.
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nas.files.durable import write_atomic
from nas.settings.toml_file import RecipeError

SHIPPED = Path(__file__).with_name("shipped")
_FILES = ("path", "train", "validation", "test")  # keys of tasks that name files


@dataclass(frozen=True)
class Example:
    """A shipped recipe or program.

    Attributes:
        file: The recipe or program, as a path in `SHIPPED`.
        others: Files that the recipe reads, as paths in `SHIPPED`.
    """

    file: str
    others: tuple[str, ...] = ()

    @property
    def about(self) -> str:
        """The first comment or the first line of the docstring of the file."""
        lines = (SHIPPED / self.file).read_text(encoding="utf-8").splitlines()
        return lines[0].strip('#" ')


EXAMPLES = {
    "digits": Example("digits.toml"),
    "diabetes": Example("diabetes.toml"),
    "table": Example("table.toml", ("examples/table/nets.toml", "examples/table/nets.csv")),
    "mnist": Example("mnist.toml"),
    "cifar10": Example("cifar10.toml"),
    "cifar10-pairs": Example("cifar10-pairs.toml"),
    "text": Example("sst2.toml"),
    "next-token": Example("shakespeare.toml"),
    "own-parts": Example(
        "examples/own_parts/mine.toml",
        ("examples/own_parts/mine.py", "examples/own_parts/board.toml"),
    ),
    "python": Example("examples/quickstart.py"),
}


def example(name: str) -> Example:
    """The example of a name, or of the name of its file without its ending.

    Raises:
        RecipeError: There is no such example.
    """
    by_file = {Path(each.file).stem: each for each in EXAMPLES.values()}
    found = EXAMPLES.get(name) or by_file.get(name)
    if found is None:
        raise RecipeError(f"there is no example {name!r}; there are {', '.join(EXAMPLES)}")
    return found


def brought(name: str, out: Path | None) -> list[Path]:
    """Copy an example with its files out of the package.

    Args:
        name: The name of the example.
        out: The path of the recipe; by default its own name, in the working directory.

    Returns:
        The files that were written, the recipe or program first.

    Raises:
        RecipeError: There is no such example, or a file would be overwritten.
        WriteError: A file cannot be written.
    """
    held = example(name)
    to = out or Path(Path(held.file).name)
    beside = {other: to.parent / Path(other).name for other in held.others}
    places = [to, *beside.values()]
    for place in places:
        require_new(place)
    text = (SHIPPED / held.file).read_text(encoding="utf-8")
    for other, place in beside.items():
        for said in (other, Path(other).name):  # the recipe names it as seen from the repository
            text = text.replace(f'"{said}"', f'"{place.as_posix()}"')
    write_atomic(to, text.encode())
    for other, place in beside.items():
        write_atomic(place, (SHIPPED / other).read_bytes())
    return places


def require_new(path: Path) -> None:
    """Raise `RecipeError` if there is something at `path` already."""
    if path.exists():
        raise RecipeError(f"{path} is there already; give another name with --out")


def absent(recipe: Path) -> Iterator[str]:
    """The files that the task of a recipe reads and that do not exist, as `task.KEY = FILE`."""
    if recipe.suffix != ".toml":
        return
    task = tomllib.loads(recipe.read_text(encoding="utf-8")).get("task", {})
    for key in _FILES:
        if key in task and not Path(task[key]).exists():
            yield f"task.{key} = {task[key]}"
