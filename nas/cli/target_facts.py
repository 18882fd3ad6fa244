"""The lines that `nas targets check` prints about a target file."""

from __future__ import annotations

import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from nas.profiling.timing import device_name
from nas.recipe.recipe import load_recipe
from nas.run.plan import THIS_CPU
from nas.targets import HardwareTarget
from nas.targets.correction.correction import calibration_of
from nas.targets.coverage import (
    Refusal,
    SpaceCoverage,
    by_operator,
    findings,
    spread,
    table_of,
)
from nas.targets.numerics import Numerics
from nas.targets.plausible import speeds, timed
from nas.targets.rules import Rules
from nas.targets.table.latency_table import LatencyTable
from search_spaces.quant import FULL_PRECISION_BITS
from search_spaces.space import SearchSpace

SHOWN = 10
OTHERWISE = {
    "container": "other formats run in the smallest of these that hold them",
    "refuse": "other formats are refused",
}


def remedy(target: HardwareTarget, file: str, source: Path) -> str:
    """Advice for a table that lacks kernels of a space, with a command quoted for a shell.

    Only rows of this machine's own table are measured here: on another device, somebody else must
    take the figures.

    Args:
        target: The target.
        file: Its name or file, as the user gave it.
        source: The recipe or the space file.
    """
    named = [] if file == THIS_CPU else ["--target", file]
    if file == THIS_CPU or target.notes.get("device") == device_name():
        return f"measure them with: {shlex.join(['nas', 'profile', str(source), *named])}"
    words = ["nas", "targets", "template", str(source), *named, "--out", "NEW.csv"]
    advice = f"a table with empty rows to fill in: {shlex.join(words)}"
    if "onnxruntime" not in target.runtime.lower():
        return advice
    words = ["nas", "profile", str(source), *named, "--backend", "elsewhere", "--out", "FOLDER"]
    return f"{advice}; models to time on the device: {shlex.join(words)}"


def space_of(path: Path) -> SearchSpace:
    """The space that a recipe searches, or the space in a `.json` file that `to_json` wrote."""
    if path.suffix == ".json":
        return SearchSpace.read(path)
    made = load_recipe(path)
    return made.space.build(made.task.load())


def about(target: HardwareTarget) -> Iterator[str]:
    """The lines about a target file and its table."""
    yield f"{target.name}: {target.device}; {target.runtime}; {target.provenance}"
    if target.source:
        yield f"source: {' '.join(target.source.split())}"
    notes = {k: text for k, text in target.notes.items() if k not in ("device", "runtime")}
    yield from (f"{name}: {text}" for name, text in notes.items())
    alike: defaultdict[tuple[Numerics, ...], list[str]] = defaultdict(list)
    for name, support in target.capability.supports.items():
        alike[support.numerics].append(name)
    for numerics, names in alike.items():
        yield f"runs {', '.join(names)} at {_listed(numerics)}"
    yield OTHERWISE[target.capability.otherwise]
    yield from _rules(target.rules)
    if (table := table_of(target)) is not None:
        yield from _about_table(table)
    if (calibration := calibration_of(target)) is not None:
        yield f"calibrated on {calibration.error.networks} networks: {calibration.error}"
    problems = findings(target)
    yield from (f"look at this: {problem}" for problem in problems)


def _rules(rules: Rules) -> Iterator[str]:
    """The lines about rules that differ from those of a plain device."""
    if not rules.packed:
        yield "weights are stored in the format that computes them"
    if rules.full_precision_bits != FULL_PRECISION_BITS:
        yield f"full precision is {rules.full_precision_bits} bits an element"
    if rules.branches == "max":
        yield "parallel branches run at once"
    if rules.same_format:
        yield f"operands must share a format: {', '.join(sorted(rules.same_format))}"
    if rules.cast is not None:
        yield (
            f"a change of format costs {rules.cast.overhead_us:g} us and the tensor's bytes at "
            f"{rules.cast.bandwidth_gb_per_s:g} GB/s"
        )
    memory = rules.memory
    held = {
        "flash for the model": memory.flash_bytes,
        "RAM for activations": memory.ram_bytes,
        "memory for model and activations": memory.total_bytes,
    }
    for what, limit in held.items():
        if limit is not None:
            yield f"{limit:,.0f} bytes of {what}"


def _about_table(table: LatencyTable) -> Iterator[str]:
    if not table.rows:
        yield "the table holds no rows yet"
        return
    yield f"{len(table.rows)} rows{' with energy' if table.has_energy else ''}"
    for operator, counts in sorted(by_operator(table).items()):
        listed = ", ".join(
            f"{count} at {numerics}" for numerics, count in sorted(counts.items(), key=str)
        )
        yield f"  {operator}: {listed}"
    if (found := speeds(timed(table.rows))) is not None:
        yield f"speed: {found[0]:.3g} to {found[1]:.3g} GMAC/s, the slowest and the fastest kernel"
    if (ratios := spread(table)) is not None:
        yield f"spread over repetitions: median {ratios[0]:.1%}, worst {ratios[1]:.1%}"


def covered(coverage: SpaceCoverage, space: str) -> Iterator[str]:
    """The lines about the part of a space that a target can run and has figures for."""
    present = coverage.wanted - len(coverage.missing)
    share = present / coverage.wanted if coverage.wanted else 0.0
    yield f"space {space}: figures for {present} of {coverage.wanted} kernels ({share:.0%})"
    for (name, given), asked in coverage.contained.items():
        what = "is refused" if given is None else f"runs at {given}"
        yield f"  {name} at {_listed(asked)} {what}"
    yield from _refused(coverage.refused)
    for key, near in coverage.missing.items():
        yield f"  no row for {key}"
        yield from (f"    nearest: {row}" for row in near)


def _refused(refused: Mapping[str, Refusal]) -> Iterator[str]:
    """The options that a target refuses, in a line for all that no choice keeps."""
    nowhere = [option for option, found in refused.items() if len(found.choices) == found.offered]
    if nowhere:
        yield f"  refused in every choice: {', '.join(nowhere)}"
    for option, found in refused.items():
        if option not in nowhere:
            count = f"{len(found.choices)} of {found.offered} choices"
            yield f"  {option}: refused in {count}, such as {found.choices[0]}"


def _listed(items: Sequence[object]) -> str:
    """The first few items as text, and the number of all others."""
    more = f" and {len(items) - SHOWN} more" if len(items) > SHOWN else ""
    return ", ".join(map(str, items[:SHOWN])) + more
