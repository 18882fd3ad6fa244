"""Networks whose channels meet in concatenations: sorted, narrowed part by part, and exported."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from nas.evaluation.rewrites import post_training
from nas.evaluation.slimming import sorted_tensors
from nas.export import export_onnx
from search_spaces.channel_groups import Coupling
from search_spaces.coupling import coupling
from search_spaces.opening import Opening, opened
from search_spaces.slimming import reasons, slimmed
from search_spaces.space import Genotype, SearchSpace
from supernets.post_training import float_network
from supernets.supernet import Supernet
from supernets.tracing import Traced, trace


class Dense(nn.Module):
    """Every layer reads all channels before, through a norm that no convolution can absorb."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.norms = nn.ModuleList(nn.BatchNorm2d(4 + 4 * place) for place in range(3))
        self.convs = nn.ModuleList(nn.Conv2d(4 + 4 * n, 4, 3, padding=1) for n in range(2))
        self.head = nn.Linear(12, 5)

    def forward(self, image: Tensor) -> Tensor:
        x = self.stem(image)
        for norm, conv in zip(self.norms, self.convs, strict=False):
            x = torch.cat([x, conv(torch.relu(norm(x)))], 1)
        return self.head(torch.relu(self.norms[2](x)).mean((2, 3)))


class Branches(nn.Module):
    """Branches that are joined as in Inception, a skip as in a U-Net, and a flattened head."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3, padding=1)
        self.one, self.three = nn.Conv2d(4, 4, 1), nn.Conv2d(4, 6, 3, padding=1)
        self.down = nn.Conv2d(14, 8, 3, stride=2, padding=1)
        self.each = nn.Conv2d(12, 12, 3, padding=1, groups=12)
        self.up = nn.Conv2d(12, 4, 1)
        self.head = nn.Linear(8 * 16, 5)

    def forward(self, image: Tensor) -> Tensor:
        skip = torch.relu(self.stem(image))
        x = torch.cat([self.one(skip), self.three(skip), F.max_pool2d(skip, 3, 1, 1)], 1)
        x = F.interpolate(torch.relu(self.down(x)), scale_factor=2.0, mode="bilinear")
        x = torch.relu(self.up(self.each(torch.cat([x, skip], 1))))
        return self.head(F.avg_pool2d(torch.cat([x, x * x], 1), 2).flatten(1))


IMAGES = torch.randn(8, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.fixture(scope="module", params=[Dense, Branches])
def traced(request: pytest.FixtureRequest) -> Traced:
    torch.manual_seed(0)
    model = request.param()
    for part in model.modules():
        if isinstance(part, nn.BatchNorm2d):
            for tensor in (part.weight, part.bias, part.get_buffer("running_mean")):
                nn.init.normal_(tensor)
    return trace(model.eval(), IMAGES)


@pytest.fixture(scope="module")
def space(traced: Traced) -> SearchSpace:
    return SearchSpace(slimmed(traced.graph, shares=(0.25, 0.5), blocks=False))


def outputs(space: SearchSpace, genotype: Genotype, tensors: Mapping[str, Tensor]) -> Tensor:
    with torch.no_grad():
        return float_network(space.decode(genotype), tensors).module()(IMAGES)


def unread(
    found: Coupling, tensors: Mapping[str, Tensor], kept: Mapping[str | None, Any]
) -> dict[str, Tensor]:
    """The tensors with zeros in all weights that read units beyond those that are kept."""
    changed = {name: tensor.clone() for name, tensor in tensors.items()}
    for along in (along for along in found.alongs if along.reads):
        gone = [
            (torch.arange(part.length) // part.inner % part.count) >= kept.get(part.group, np.inf)
            for part in along.parts
        ]
        changed[f"{along.address}.{along.name}"][:, torch.cat(gone)] = 0.0
    return changed


def test_only_what_is_an_output_has_to_stay(traced: Traced) -> None:
    assert {*reasons(traced.graph)} == {"head.width"}


def test_a_narrower_network_is_the_whole_one_that_does_not_read_the_others(
    traced: Traced, space: SearchSpace
) -> None:
    found, rng = coupling(traced.graph), np.random.default_rng(0)
    supernet = Supernet.of(space, traced.tensors)
    assert SearchSpace.from_json(space.to_json()) == space
    for genotype in (space.smallest, space.largest, *(space.sample(rng) for _ in range(3))):
        masked = unread(found, traced.tensors, {**space.picks(genotype)})
        whole = outputs(space, space.largest, masked)
        torch.testing.assert_close(outputs(space, genotype, traced.tensors), whole)
        torch.testing.assert_close(supernet(IMAGES, genotype, quantize=False), whole)


def test_sorting_moves_channels_in_each_part_and_changes_no_output(
    traced: Traced, space: SearchSpace
) -> None:
    moved = sorted_tensors(traced.graph, traced.tensors, [IMAGES], importance="filter-norm")
    changed = [name for name, tensor in traced.tensors.items() if not tensor.equal(moved[name])]
    assert {"stem.weight", "head.weight"} <= {*changed}
    before, after = (outputs(space, space.largest, held) for held in (traced.tensors, moved))
    torch.testing.assert_close(after, before)


def test_a_narrow_network_is_repaired_rounded_and_exported(
    traced: Traced, space: SearchSpace, tmp_path: Path
) -> None:
    bits = SearchSpace(opened(space.graph, Opening(weights=(8,), activations=(8,))))
    plain = ("ranges", "nearest", "round-biases")
    whole, errors = outputs(space, space.largest, traced.tensors), []
    for rewrites in (plain, ("least-squares", *plain)):
        made = post_training(bits, traced.tensors, [IMAGES], rewrites=rewrites)(bits.smallest)
        errors.append((made.module()(IMAGES) - whole).square().mean().item())
    assert errors[1] < 0.5 * errors[0]
    export_onnx(made, tmp_path / "narrow.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "narrow.onnx")
    (found,) = session.run(None, {session.get_inputs()[0].name: IMAGES.numpy()})
    np.testing.assert_allclose(np.asarray(found), made.module()(IMAGES).detach(), atol=0.02)
