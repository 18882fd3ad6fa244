"""Export of each target's subnet as one file that switches between bit-widths."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

import torch

from nas.evaluation.measurements import Measurements
from nas.export import ExportError
from nas.export.raw import raw_of, reading_raw, scaled_answers
from nas.export.runtime import file_outputs
from nas.export.switching import BITS, Switching, export_switching
from nas.run.measuring import BATCH, deployment_of, raw_usage
from nas.run.plan import Plan
from nas.run.steps.exporting import chosen, described_by, write_predict
from nas.terminal.display import Display, TerminalTable
from search_spaces.formats import MAXIMUM_BITS, MINIMUM_BITS
from search_spaces.policy import uniform
from search_spaces.space import Genotype, SearchSpace
from supernets.deployed import Deployed
from supernets.inputs import batches
from supernets.supernet import Supernet


def switched(plan: Plan, supernet: Supernet, measured: Measurements, display: Display) -> None:
    """Export the architecture chosen for every target, at all its bit-widths, and test each.

    The file of a target is called `TARGET.switching.onnx` (`nas.export.switching`). Its modes are
    the bit-widths that every choice of a precision offers.

    Raises:
        ExportError: If fewer than two bit-widths are offered, or weights do not switch.
    """
    for goal, target in zip(plan.problem.goals, plan.targets, strict=True):
        pick = chosen(goal, measured, tolerance=plan.section(target).tolerance)
        if pick is None:
            display.say(f"{target.name}: no subnet is within the limits, so none is exported")
            continue
        deployment, metadata = deployment_of(plan, supernet), described_by(plan, target.name, pick)
        networks = {
            bits: replace(deployment(genotype), metadata=metadata)
            for bits, genotype in modes(plan.space, pick.genotype).items()
        }
        path = plan.files.exported(target.name, ".switching.onnx")
        held = {bits: reading_raw(each, raw_usage(plan)) for bits, each in networks.items()}
        size = export_switching(Switching.of(held), path)
        write_predict(plan.files)
        display.say(_tested(plan, networks, path, title=f"{path.name}, {size:,} bytes"))


def modes(space: SearchSpace, genotype: Genotype) -> dict[int, Genotype]:
    """Bit-width -> the architecture of `genotype` with all precisions at this bit-width."""
    offered = {
        bits: uniform(space, bits, genotype) for bits in range(MAXIMUM_BITS, MINIMUM_BITS - 1, -1)
    }
    found = {bits: made for bits, made in offered.items() if made is not None}
    if len(set(found.values())) < 2:
        raise ExportError(
            "a file that switches needs two bit-widths that all choices of a precision offer, and "
            f"there are {len(set(found.values()))}; give weight_bits and activation_bits the same "
            "options, or inputs a single one"
        )
    return found


def _tested(
    plan: Plan, networks: Mapping[int, Deployed], path: Path, *, title: str
) -> TerminalTable:
    """A table of the figures of every network alone and in the file, on the test split."""
    criterion, (inputs, targets) = plan.task.criterion, plan.task.test_samples()
    words = criterion.shown
    table = TerminalTable(("bits", f"{words.name} alone", "in the file"), title, numeric=(0, 1, 2))
    parts, raw = [*batches(inputs, BATCH)], raw_usage(plan)
    for bits, network in networks.items():
        module = network.module()
        with torch.no_grad():
            alone = torch.cat([module(**part) for part in parts])
        asked = [{**raw_of(part, raw), BITS: torch.tensor(bits)} for part in parts]
        answers = torch.cat([torch.from_numpy(out) for out in file_outputs(path, asked)])
        shared = scaled_answers(answers, raw)
        losses = (float(criterion.losses(out, targets).double().mean()) for out in (alone, shared))
        table.add_row(str(bits), *map(words.text, losses))
    return table
