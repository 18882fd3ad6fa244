"""Networks whose shortcuts add empty channels: sorted, narrowed on both sides, and exported."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import pairwise
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from torch import Tensor

from nas.evaluation.slimming import sorted_tensors
from nas.export import export_onnx
from nas.testing.rewrite import drawn_tensors
from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    Add,
    Conv2d,
    Flatten,
    GlobalPool,
    Input,
    Linear,
    Pad,
    Slice,
)
from search_spaces.slimming import slimmed
from search_spaces.space import SearchSpace
from supernets.deployed import Deployed
from supernets.inputs import Inputs
from supernets.post_training import float_network

WIDTHS = (4, 8, 12)


def network() -> Graph:
    """Three stages, each with more channels than the one before, as the ResNets for CIFAR-10."""
    graph = Graph(Input("image", (3, 8, 8)))
    x = graph.add("stem", Conv2d(WIDTHS[0], 3))
    for stage, (read, width) in enumerate(pairwise(WIDTHS)):
        graph.add(f"{stage}.conv1", Conv2d(width, 3, 2), x)
        graph.add(f"{stage}.relu1", Activation("relu"))
        main = graph.add(f"{stage}.conv2", Conv2d(width, 3, bias=True))
        _, high, wide = graph.shapes()[x]
        graph.add(f"{stage}.rows", Slice(1, 0, high, 2), x)
        graph.add(f"{stage}.places", Slice(2, 0, wide, 2))
        added = (width - read) // 2
        skip = graph.add(f"{stage}.pad", Pad((added, 0, 0), (added, 0, 0)))
        graph.add(f"{stage}.add", Add(), main, skip)
        x = graph.add(f"{stage}.relu2", Activation("relu"))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(3))
    return graph


@pytest.fixture(scope="module")
def tensors() -> Mapping[str, Tensor]:
    return drawn_tensors(SearchSpace(network()))


@pytest.fixture(scope="module")
def batch() -> Inputs:
    return {"image": torch.randn(6, 3, 8, 8, generator=torch.Generator().manual_seed(0))}


@pytest.fixture(scope="module")
def ordered(tensors: Mapping[str, Tensor], batch: Inputs) -> Mapping[str, Tensor]:
    return sorted_tensors(network(), tensors, [batch], importance="filter-norm")


def outputs(deployed: Deployed, batch: Inputs) -> Tensor:
    with torch.no_grad():
        return deployed.module()(**batch)


def test_sorting_moves_channels_of_all_stages_and_changes_no_output(
    tensors: Mapping[str, Tensor], ordered: Mapping[str, Tensor], batch: Inputs
) -> None:
    before, after = (outputs(float_network(network(), held), batch) for held in (tensors, ordered))
    torch.testing.assert_close(after, before, rtol=1e-5, atol=1e-5)
    for name in ("stem.weight", "0.conv2.weight", "1.conv2.weight"):
        assert not torch.equal(ordered[name], tensors[name]), name


def test_a_lost_channel_is_an_empty_one_for_the_next_stage(
    ordered: Mapping[str, Tensor], batch: Inputs
) -> None:
    space = SearchSpace(slimmed(network(), shares=(0.75, 0.875)))
    names = [choice.name for choice in space.choices]
    assert {"stem.width", "0.conv2.width", "1.conv2.width"} <= {*names}
    picks = [len(c.options) - 1 - (c.name == "stem.width") for c in space.choices]
    silent = {name: tensor.clone() for name, tensor in ordered.items()}
    silent["stem.weight"][3] = 0
    torch.testing.assert_close(
        outputs(float_network(space.decode(tuple(picks)), ordered), batch),
        outputs(float_network(network(), silent), batch),
    )


def test_a_network_that_is_narrower_in_all_stages_is_exported(
    ordered: Mapping[str, Tensor], batch: Inputs, tmp_path: Path
) -> None:
    space = SearchSpace(slimmed(network(), shares=(0.5, 0.875)))
    narrow = float_network(space.decode(space.smallest), ordered)
    assert narrow.graph.shapes()["1.relu2"][0] < WIDTHS[-1]
    export_onnx(narrow, tmp_path / "narrow.onnx")
    session = onnxruntime.InferenceSession(tmp_path / "narrow.onnx")
    given = np.asarray(session.run(None, {"image": batch["image"].numpy()})[0])
    np.testing.assert_allclose(given, outputs(narrow, batch).numpy(), rtol=1e-4, atol=1e-5)
