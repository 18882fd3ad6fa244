"""The command `nas targets import`: makes a target from a published latency table."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nas.terminal.display import TerminalTable, say
from nas.terminal.interrupts import loading

if TYPE_CHECKING:
    from nas.targets.adapters import Imported

Format = Annotated[str | None, typer.Argument(metavar="FORMAT", help="What --list names.")]
File = Annotated[Path | None, typer.Argument(metavar="FILE", help="The published table.")]
Name = Annotated[str | None, typer.Option(help="What to call the target; else after the file.")]
Out = Annotated[Path, typer.Option(help="Folder for NAME.toml and NAME.csv.")]
Settings = Annotated[
    list[str] | None,
    typer.Option("--set", help="OPTION=VALUE of the format, such as clock_mhz=200."),
]
Listing = Annotated[bool, typer.Option("--list", help="List the formats and stop.")]


def import_table(
    format_: Format = None,
    file: File = None,
    name: Name = None,
    out: Out = Path(),
    set_: Settings = None,
    list_: Listing = False,  # a flag of the command line
) -> None:
    """Read a published latency table; say what is mapped, what is not, and what looks wrong."""
    with loading():
        from nas.targets import TargetError
        from nas.targets.adapters import ADAPTERS, write
        from nas.targets.adapters.options import adapter

    if list_:
        say(formats())
        return
    if format_ is None or file is None:
        raise TargetError("say which FORMAT and FILE to import; --list names the formats")
    found = adapter(ADAPTERS, format_, set_ or ()).read(file)
    for line in told(found):
        say(line)
    if found.rows:
        called = file.name.split(".")[0] if name is None else name
        say(f"target: {write(found, called, out)}")


def formats() -> TerminalTable:
    """A table of all formats with their units, provenance and options."""
    from nas.targets.adapters import ADAPTERS
    from nas.targets.adapters.options import options

    table = TerminalTable(("format", "figures are", "units", "options"))
    for name, kind in ADAPTERS.items():
        table.add_row(name, kind.origin, kind.units, ", ".join(options(kind)))
    return table


def told(found: Imported) -> list[str]:
    """The result of an import in words, line by line."""
    lines = [
        f"{len(found.rows)} kernels and {len(found.samples)} whole networks, {found.origin}, "
        f"in {found.units}",
        f"device: {found.device}",
    ]
    reasons = Counter(item.reason for item in found.unmapped)
    first = {item.reason: item.where for item in reversed(found.unmapped)}
    lines += [f"not mapped: {n} ({first[why]}): {why}" for why, n in reasons.most_common()]
    return lines + [f"found: {f.kind}: {f.count}: {f.text}" for f in found.findings]
