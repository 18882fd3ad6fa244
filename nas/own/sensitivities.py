"""What a user's network loses by each precision of each tensor: measured once, kept in a file.

Sensitivities belong to a network, its samples and its precisions, so they serve every device, every
budget and every wish. A measurement that was stopped goes on where it was.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import TypeAdapter
from torch import Tensor

from nas.files.durable import write_atomic
from nas.parts import Parts
from predictors.proxies.sensitivity import (
    Entry,
    SensitivityCost,
    Site,
    Study,
    measured,
    open_precisions,
    repaired_cost,
    weight_names,
)
from search_spaces.documents import Source, read_json
from search_spaces.serialize import decode, encode
from search_spaces.space import SearchSpace
from supernets.assemble import module_name, node_names
from supernets.post_training import PostTraining, Reference

KINDS = ("squared-error", "output-distance")
"""The kinds of sensitivities that are measured: no single one ranks best at every budget."""
_KEPT = TypeAdapter(dict[str, list[tuple[str, str, dict[str, Any], float]]])
_SAMPLES, _SAVED = 64, 20


@dataclass(frozen=True)
class Sensitivities:
    """The sensitivities of a network, kept in a file.

    Attributes:
        path: The file, or where it will be.
        network: A digest of the network and its samples, on which they depend.
    """

    path: Path
    network: str

    def of(
        self, space: SearchSpace, made: PostTraining, told: Callable[[int, int], None]
    ) -> dict[str, SensitivityCost]:
        """The sensitivities of every kind for the precisions of a space, measured where missing.

        Args:
            space: The space.
            made: The maker of its networks, whose float network is looked at.
            told: Called with the number of values that are known, and of all.
        """
        study = _study(space, made.reference(space.largest))
        kept = self._known()
        found: dict[str, SensitivityCost] = {}
        for number, kind in enumerate(KINDS):
            known = kept.setdefault(kind, {})

            def tell(entry: Entry, value: float, known=known, number=number) -> None:
                known[entry] = value
                if len(known) % _SAVED == 0:
                    self._write(kept)
                told(number * len(study.entries) + len(known), len(KINDS) * len(study.entries))

            cost = measured(study, Parts("sensitivity")[kind], known=known, told=tell)
            self._write(kept)
            found[kind] = repaired_cost(cost)
        return found

    def _known(self) -> dict[str, dict[Entry, float]]:
        if not self.path.exists():
            return {}
        what, remedy = "sensitivities", "delete it, and they are measured anew"
        source = Source(f"{what} {self.path}", remedy)
        held = read_json(self.path, _KEPT, what=what, remedy=remedy)
        return {
            kind: {
                Entry(Site(tensor, address), decode(quant, source)): value
                for tensor, address, quant, value in entries
            }
            for label, entries in held.items()
            for kind, _, network in [label.partition(" ")]
            if network == self.network
        }

    def _write(self, kept: Mapping[str, Mapping[Entry, float]]) -> None:
        content = {
            f"{kind} {self.network}": [
                [entry.site.tensor, entry.site.address, encode(entry.quant), value]
                for entry, value in known.items()
            ]
            for kind, known in kept.items()
        }
        write_atomic(self.path, json.dumps(content).encode())


def _study(space: SearchSpace, reference: Reference) -> Study:
    """The float network with some calibration samples, and the precisions to try."""
    nodes = node_names(reference.module)
    weights, reads = (
        {at: quants for at, quants in open_precisions(space.graph, kind).items() if at in nodes}
        for kind in ("weight", "activation")
    )
    batch = {name: tensor[:_SAMPLES] for name, tensor in reference.batches[0].items()}
    return Study(
        reference.module,
        [batch],
        _distance,
        nodes,
        weight_names(reference.module, {address: module_name(address) for address in weights}),
        {Site("weight", at): quants for at, quants in weights.items()}
        | {Site("activation", at): quants for at, quants in reads.items()},
    )


def _distance(out: Tensor, wanted: Tensor) -> Tensor:
    """The squared distance of outputs, as a share of the variance of the wanted ones."""
    spread = (wanted - wanted.mean(0)).square().mean()
    return (out - wanted).square().mean() / spread.clamp_min(1e-30)
