"""Legality before search: options that no target can run are removed from the space."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from nas.targets.errors import TargetError
from nas.targets.target import HardwareTarget
from search_spaces.choice import Choice, choices_in, parts, resolve
from search_spaces.fusion import prepared
from search_spaces.ops import Op
from search_spaces.space import SearchSpace

Option = tuple[str, int]  # the name of a choice and the index of one of its options


def legal(space: SearchSpace, targets: Sequence[HardwareTarget]) -> SearchSpace:
    """The space with only those options that at least one of `targets` can run.

    A target cannot run an option if some operator that the option decides about is refused with it
    under all other picks.

    Raises:
        TargetError: If no target can run any network of the space; says why for each target.
    """
    refusals = {target.name: _always_refused(space, target) for target in targets}
    unable = [reason for reason in refusals.values() if reason is not None]
    if len(unable) == len(targets):
        raise TargetError(
            f"no network of space {space.name!r} runs on any target: {'; '.join(unable)}; "
            "allow other bits, granularities or symmetries in space.policy (edge_bits are those of "
            "first and last layers, additions and poolings), or name another target"
        )
    able = [target for target in targets if refusals[target.name] is None]
    illegal = set.intersection(*(refused_options(space, target) for target in able))
    if not illegal:
        return space
    try:
        return space.restrict(
            lambda choice, option: (choice.name, choice.options.index(option)) not in illegal
        )
    except ValueError as error:
        names = ", ".join(target.name for target in targets)
        raise TargetError(f"what the targets {names} can run leaves nothing: {error}") from error


def refused_options(space: SearchSpace, target: HardwareTarget) -> set[Option]:
    """The options with which `target` refuses some operator, under all other picks."""
    refused: set[Option] = set()
    free = prepared(space.graph)
    for node in (n for address, n in space.graph.nodes.items() if address not in free):
        runs: dict[Option, bool] = defaultdict(bool)
        for picks, op in _forms(node.op):
            runnable = target.capability.container(op) is not None
            for option in _picked(node.op, picks):
                runs[option] |= runnable
        refused |= {option for option, runnable in runs.items() if not runnable}
    return refused


def _always_refused(space: SearchSpace, target: HardwareTarget) -> str | None:
    """The reason why every network of the space is refused, or None where some may run."""
    free = prepared(space.graph)
    for address, node in space.graph.nodes.items():
        if address in free:
            continue
        ops = [op for _, op in _forms(node.op)]
        if ops and not node.present and not any(map(target.capability.container, ops)):
            return f"{target.name} refuses node {address!r}: {target.capability.refusal(ops[0])}"
    return None


def _forms(op: Op) -> Iterator[tuple[Mapping[str, int], Op]]:
    """Every form of `op` that differs in precision, each with the picks that lead to it."""
    if not isinstance(op, Choice) and not op.runs:
        return
    named = {found.name: found for found in choices_in(_precision(op))}
    for indices in itertools.product(*(range(len(found.options)) for found in named.values())):
        picks = dict(zip(named, indices, strict=True))
        yield picks, resolve(op, defaultdict(int, picks))


def _picked(op: Op, picks: Mapping[str, int]) -> Iterator[Option]:
    """The picked options of the choices that are open under `picks`."""
    open_parts: list[Any] = [_precision(op)]
    while open_parts:
        part = open_parts.pop()
        if isinstance(part, Choice):
            yield part.name, picks[part.name]
            open_parts.append(part.options[picks[part.name]])
        else:
            open_parts.extend(parts(part))


def _precision(op: Op) -> object:
    """The part of an operator that decides its number formats: its precisions.

    The whole operator where the operator itself is a choice.
    """
    return op if isinstance(op, Choice) else (op.weight, op.activation)
