"""The section that compares the devices: the subnet of each, and its costs on the others."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence

from nas.report import text
from nas.report.data import Results
from nas.report.layers import in_words, kernel_text
from nas.report.markup import Markup, details, table, tag
from nas.report.selection import Selection, selections
from nas.report.subnets import Chosen

_SIZE = "model_bytes"


def comparison(results: Results) -> Markup:
    """The chosen subnets side by side; empty where fewer than two devices have one."""
    made = [*selections(results).values()]
    if len(made) < 2:
        return Markup()
    parts = [
        tag("h2", "The devices compared", id="devices"),
        *(tag("p", sentence) for sentence in alike(results)),
        *_kinds(made),
        _cross(made),
        tag("p", "A subnet's row: what it costs on each device. Bold: on its own.", class_="muted"),
        _picks(made),
    ]
    return tag("section", parts)


def alike(results: Results) -> Iterator[str]:
    """Sentences on devices with the same subnet, or the same layers at other precisions."""
    networks: dict[object, list[str]] = defaultdict(list)
    shapes: dict[object, list[str]] = defaultdict(list)
    chosen = [(target.name, target.chosen) for target in results.targets if target.chosen]
    for name, pick in chosen:
        networks[pick.genotype].append(name)
    for names in networks.values():
        if len(names) > 1:
            yield f"{text.listed(names)} got the same subnet."
    first = {names[0] for names in networks.values()}
    for name, pick in chosen:
        if name in first and pick.layers:
            shapes[_shape(pick)].append(name)
    for names in shapes.values():
        if len(names) > 1:
            yield f"{text.listed(names)} got the same layers at other precisions."


def _shape(pick: Chosen) -> tuple[tuple[str, str, int, str], ...]:
    return tuple((la.address, la.operator, la.width, kernel_text(la)) for la in pick.layers)


def _kinds(made: Sequence[Selection]) -> Iterator[Markup]:
    """A table of the kind of network of each device, where the results tell its layers."""
    rows = [
        [one.target.name, in_words(layers), text.quantity("macs", sum(la.macs for la in layers))]
        for one in made
        if (layers := one.pick.layers)
    ]
    if rows:
        yield table(["Device", "Its subnet", "MACs"], rows, numeric=(2,))


def _cross(made: Sequence[Selection]) -> Markup:
    """A table of every chosen subnet on every device."""
    rows = [
        [f"Subnet of {of.target.name}", *(_on(on, of.row, own=on is of) for on in made)]
        for of in made
    ]
    return table(["", *(f"on {one.target.name}" for one in made)], rows)


def _on(device: Selection, row: int, *, own: bool) -> str:
    """The costs of a subnet on a device, and the limits that the subnet does not keep there."""
    if not device.runs[row]:
        return "cannot run"
    size = [_SIZE] if _SIZE in device.costs else []
    names = dict.fromkeys((*device.target.objectives, *size))
    words = device.words
    figures = ", ".join(words.quantity(n, float(device.costs[n][row])) for n in names)
    if own:
        return tag("b", figures)
    over = text.listed(map(words.named, device.exceeded(row)))
    return tag("span", [figures, tag("small", f"; over the limit on {over}" if over else "")])


def _picks(made: Sequence[Selection]) -> Markup:
    """The options picked for each device, choice by choice; a dash where a choice is closed."""
    names = dict.fromkeys(name for one in made for name in one.pick.description)
    rows = [[name, *(_pick(one.pick, name) for one in made)] for name in names]
    header = ["Choice", *(one.target.name for one in made)]
    return details("What was picked, choice by choice", table(header, rows)) if rows else Markup()


def _pick(chosen: Chosen, name: str) -> str:
    return text.option(chosen.description[name]) if name in chosen.description else "—"
