from dataclasses import replace

import numpy as np
import pytest

from nas.export import ONNX_FUSION, export_onnx, onnx_bytes
from nas.testing.networks import FAMILIES, network, space, uniform, uniform_network
from search_spaces.costs import SpaceKernels, total


@pytest.mark.parametrize("family", FAMILIES)
def test_file_sizes_are_foretold(family, tmp_path):
    made = space(family)
    genotypes = made.sample_array(np.random.default_rng(0), 12)
    foretold = SpaceKernels(made, ONNX_FUSION).compile(onnx_bytes)(genotypes)
    metadata = {"space": made.fingerprint, "version": "0.1.0"}
    for row, size in zip(genotypes.tolist(), foretold, strict=True):
        metadata["genotype"] = str(tuple(row))
        deployed = replace(network(family, tuple(row)), metadata=metadata)
        report = export_onnx(deployed, tmp_path / "n.onnx")
        assert size == pytest.approx(report.file_bytes, rel=0.05)
        assert total(onnx_bytes, made.decode(row), ONNX_FUSION) == size


@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_uniform_policies_have_the_size_foretold(family, bits, tmp_path):
    policy = uniform(bits)
    made = space(family, policy)
    foretold = total(onnx_bytes, made.decode(made.largest), ONNX_FUSION)
    report = export_onnx(uniform_network(family, policy), tmp_path / "net.onnx")
    assert foretold == pytest.approx(report.file_bytes, rel=0.05)


def test_fewer_bits_are_fewer_bytes_only_where_a_container_is_narrower():
    sizes = {}
    for bits in (2, 3, 4, 6, 8, None):
        made = space("residual", uniform(bits))
        sizes[bits] = total(onnx_bytes, made.decode(made.largest), ONNX_FUSION)
    assert sizes[2] < sizes[3] < sizes[6] < sizes[None]
    assert sizes[3] == pytest.approx(sizes[4], rel=1e-3)  # but for the names of constants
    assert sizes[6] == pytest.approx(sizes[8], rel=0.05)  # 8 bits need no Clip
