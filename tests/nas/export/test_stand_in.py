"""Stand-ins with random weights run the kernels that the trained networks would run."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from nas.export import export_onnx, verify
from nas.export.runtime import kernels_run
from nas.export.stand_in import stand_in
from nas.tasks.criteria import Classification
from nas.testing.networks import FAMILIES, IMAGES, network, space
from search_spaces.policy import Policy

POLICY = Policy(weight_bits=(4, 8, None), activation_bits=(4, 8, None), fineness="layer")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_stand_in_runs_the_kernels_of_the_trained_network(family: str, tmp_path: Path) -> None:
    made = space(family, POLICY)
    for row in made.sample_array(np.random.default_rng(0), 6).tolist():
        alike = []
        for deployed in (network(family, tuple(row), POLICY), stand_in(made.decode(row))):
            export_onnx(deployed, tmp_path / "net.onnx")
            alike.append(kernels_run(tmp_path / "net.onnx"))
        weighted = ("QLinearConv", "Conv", "FusedConv", "QGemm", "QLinearAdd", "DequantizeLinear")
        assert [alike[0][kind] for kind in weighted] == [alike[1][kind] for kind in weighted]


def test_a_stand_in_is_a_network_like_any_other(tmp_path: Path) -> None:
    made = space("mobilenet")
    deployed = stand_in(made.decode(made.largest))
    export_onnx(deployed, tmp_path / "net.onnx")
    labels = IMAGES.new_zeros(len(IMAGES), dtype=torch.int64)
    assert (
        verify(
            tmp_path / "net.onnx", deployed, IMAGES, labels, criterion=Classification()
        ).largest_difference
        < 0.05
    )
