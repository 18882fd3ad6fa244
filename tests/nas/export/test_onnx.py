import json
from dataclasses import dataclass, replace
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import onnx
import pytest
import torch
from onnx import numpy_helper

from nas.export.containers import ExportError
from nas.export.onnx_model import export_onnx
from nas.export.runtime import file_outputs, kernels_run
from nas.files.durable import WriteError
from nas.testing.networks import (
    FAMILIES,
    IMAGES,
    random_networks,
    uniform,
    uniform_network,
)
from search_spaces.formats import Int
from search_spaces.graph import Graph, Node
from search_spaces.ops import Op
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, Quant
from supernets.deployed import Deployed, values
from supernets.encoded import EncodedTensor


def network_logits(deployed, images=IMAGES):
    with torch.no_grad():
        return deployed.module()(images).numpy()


def exported_logits(deployed, path, images=IMAGES, **options):
    export_onnx(deployed, path, **options)
    return next(iter(file_outputs(path, [{"image": images}])))


def share_equal(ours, theirs):
    """The share of images with equal logits; the others must differ by what a tie explains.

    A sum that differs in its last float digit may round to the next code. An answer may then only
    change where the two best logits are closer than the logits moved.
    """
    difference = np.abs(ours - theirs).max(1)
    best = np.sort(ours, axis=1)
    close = best[:, -1] - best[:, -2] <= 2 * difference
    assert ((ours.argmax(1) == theirs.argmax(1)) | close).all()
    return np.mean(difference <= 1e-4 * ours.std())


@pytest.mark.parametrize("family", FAMILIES)
def test_the_file_computes_what_the_network_computes(family, tmp_path):
    same, agree = [], []
    for deployed in random_networks(family, 6):
        ours, theirs = network_logits(deployed), exported_logits(deployed, tmp_path / "net.onnx")
        same.append(share_equal(ours, theirs))
        agree.append(ours.argmax(1) == theirs.argmax(1))
    assert np.median(same) >= 0.997
    assert np.mean(same) >= 0.97
    assert np.mean(agree) >= 0.999


@pytest.mark.parametrize("symmetric", [False, True])
@pytest.mark.parametrize("bits", [2, 3, 4, 6, 8, None])
@pytest.mark.parametrize("family", FAMILIES)
def test_uniform_policies(family, bits, symmetric, tmp_path):
    deployed = uniform_network(family, uniform(bits, activation_symmetric=symmetric))
    ours, theirs = network_logits(deployed), exported_logits(deployed, tmp_path / "net.onnx")
    # One tie among an image's thousands of activations moves its logits; on an untrained network
    # some images have one. That no clear answer changes is what `share_equal` asserts.
    assert share_equal(ours, theirs) >= 0.9


@pytest.mark.parametrize("bits", [2, 4, 8])
@pytest.mark.parametrize("symmetric", [False, True])
def test_integer_kernels_run_at_every_width(bits, symmetric):
    assert_on_integers(uniform_network("residual", uniform(bits, activation_symmetric=symmetric)))


def test_a_mobilenet_of_8_bits_runs_on_integers_wholly():
    assert_on_integers(uniform_network("mobilenet", uniform(8)))


def assert_on_integers(deployed):
    with TemporaryDirectory() as folder:
        export_onnx(deployed, Path(folder) / "net.onnx")
        kernels = kernels_run(Path(folder) / "net.onnx")
    held = deployed.parameters.values()
    convolutions = sum(values(parameters["weight"]).ndim > 2 for parameters in held)
    assert kernels["QLinearConv"] == convolutions
    assert kernels["QGemm"] == 1


@pytest.mark.parametrize("symmetric", [True, False])
@pytest.mark.parametrize("bits", [2, 4, 8])
def test_weights_of_float_kernels_are_floats_once_loaded(bits, symmetric, tmp_path):
    policy = Policy(
        weight_bits=(bits,),
        activation_bits=(None,),
        weight_symmetries=(symmetric,),
        edge_bits=None,
    )
    deployed = uniform_network("mobilenet", policy)
    report = export_onnx(deployed, tmp_path / "net.onnx")
    assert report.containers["stage0.block0.expand"] == f"{'' if symmetric else 'U'}INT{bits}"
    kernels = kernels_run(tmp_path / "net.onnx")
    assert kernels.keys().isdisjoint({"DequantizeLinear", "Cast"})
    assert share_equal(network_logits(deployed), exported_logits(deployed, tmp_path / "o")) > 0.99


def test_a_tensor_read_on_two_grids_keeps_both(tmp_path):
    deployed = uniform_network("residual", uniform(8))
    slot = ("stage0.block0.skip", 0)
    scale = deployed.inputs[slot]
    apart = replace(
        deployed, inputs={**deployed.inputs, slot: replace(scale, scale=scale.scale * 1.3)}
    )
    reports = [export_onnx(d, tmp_path / "net.onnx") for d in (deployed, apart)]
    assert reports[1].nodes["QuantizeLinear"] == reports[0].nodes["QuantizeLinear"] + 1
    ours, theirs = (
        network_logits(apart),
        next(iter(file_outputs(tmp_path / "net.onnx", [{"image": IMAGES}]))),
    )
    assert share_equal(ours, theirs) >= 0.95
    np.testing.assert_allclose(ours, theirs, atol=0.05 * ours.std())


@pytest.mark.parametrize("family", FAMILIES)
def test_weights_are_stored_as_their_codes(family, tmp_path):
    for deployed in random_networks(family, 4):
        report = export_onnx(deployed, tmp_path / "net.onnx")
        model = onnx.load(tmp_path / "net.onnx")
        onnx.checker.check_model(model, full_check=True)
        stored = {
            tensor.name: numpy_helper.to_array(tensor).astype(np.int32)
            for tensor in model.graph.initializer
            if tensor.data_type != onnx.TensorProto.FLOAT
        }
        for address in deployed.parameters:
            weight = deployed.weight(address)
            if isinstance(weight, EncodedTensor):
                found = (np.array_equal(weight.codes, held) for held in stored.values())
                assert any(found), address
                bits = weight.quant.bits
                width = int(report.containers[address].removeprefix("U").removeprefix("INT"))
                assert width == min(w for w in (2, 4, 8) if w >= bits)


def test_equal_networks_give_equal_bytes(tmp_path):
    deployed = random_networks("mobilenet", 1)[0]
    metadata = {"space": "abc", "genotype": "1,2"}
    backwards = dict(reversed(metadata.items()))
    export_onnx(replace(deployed, metadata=metadata), tmp_path / "a.onnx")
    export_onnx(replace(deployed, metadata=backwards), tmp_path / "b.onnx")
    assert (tmp_path / "a.onnx").read_bytes() == (tmp_path / "b.onnx").read_bytes()


def test_the_file_names_itself(tmp_path):
    deployed = replace(uniform_network("residual", uniform(4)), metadata={"space": "abc"})
    report = export_onnx(deployed, tmp_path / "net.onnx")
    model = onnx.load(tmp_path / "net.onnx")
    told = {entry.key: entry.value for entry in model.metadata_props}
    assert told["elastic_nas.space"] == "abc"
    policy = json.loads(told["elastic_nas.policy"])
    assert policy["stem"] == {
        "weight": ["int8", "per-channel"],
        "activation": ["uint8", "per-tensor"],
    }
    assert policy["stage0.block0.conv1"]["weight"] == ["int4", "per-channel"]
    assert set(deployed.parameters) <= {node.name for node in model.graph.node}
    assert report.file_bytes == (tmp_path / "net.onnx").stat().st_size


def test_only_2_bit_weights_need_a_new_opset(tmp_path):
    opsets = {
        bits: export_onnx(uniform_network("residual", uniform(bits)), tmp_path / "net.onnx").opset
        for bits in (2, 4, 8)
    }
    assert opsets == {2: 25, 4: 21, 8: 21}


def test_float_weights_between_quantized_tensors_stay_float(tmp_path):
    """Left alone, onnxruntime would round them to 8 bits."""
    deployed = uniform_network("residual", uniform(8))
    address = "stage0.block0.conv1"
    node, held = deployed.graph.nodes[address], deployed.parameters[address]
    weight = values(held["weight"])
    noise = 1 + 0.01 * np.random.default_rng(0).random(weight.shape, np.float32)
    plain = {"weight": weight * noise, "bias": values(held["bias"])}
    nodes = {**deployed.graph.nodes, address: replace(node, op=replace(node.op, weight=None))}
    changed = Deployed(
        Graph.from_nodes(nodes), {**deployed.parameters, address: plain}, deployed.inputs
    )
    ours, theirs = network_logits(changed), exported_logits(changed, tmp_path / "net.onnx")
    assert share_equal(ours, theirs) >= 0.95
    np.testing.assert_allclose(ours, theirs, atol=0.05 * ours.std())
    assert sum(v for k, v in kernels_run(tmp_path / "net.onnx").items() if k != "QLinearConv")


@dataclass(frozen=True)
class Unheard(Op):
    def infer(self, *inputs):
        return inputs[0]


def test_an_operator_without_a_case_is_named(tmp_path):
    deployed = uniform_network("residual", uniform(8))
    nodes = {**deployed.graph.nodes, "odd": Node(Unheard(), (deployed.graph.output,))}
    with pytest.raises(ExportError, match="Unheard at 'odd'"):
        export_onnx(replace(deployed, graph=Graph.from_nodes(nodes)), tmp_path / "n.onnx")
    assert not (tmp_path / "n.onnx").exists()


def test_a_missing_folder_is_named(tmp_path):
    deployed = uniform_network("residual", uniform(8))
    with pytest.raises(WriteError, match="create the folder"):
        export_onnx(deployed, tmp_path / "no" / "net.onnx")


def test_codes_beyond_their_container_are_refused(tmp_path):
    deployed = uniform_network("residual", uniform(8))
    wide = replace(deployed.weight("head"), quant=Quant(Int(2), PerChannel()))
    broken = deployed.changed("head", weight=wide)
    with pytest.raises(ExportError, match="do not fit INT2"):
        export_onnx(broken, tmp_path / "net.onnx")
