import json
from dataclasses import replace

import numpy as np
import onnx
import pytest
import torch

from nas.export import ExportError, export_onnx, read_policy, verify
from nas.export.stand_in import stand_in
from nas.export.stored_bits import Held
from nas.tasks.criteria import Classification
from nas.testing.networks import (
    FAMILIES,
    IMAGES,
    random_networks,
    uniform,
    uniform_network,
)
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Add, Conv2d, Flatten, GlobalPool, Input, Linear
from search_spaces.quant import Quant

LABELS = torch.arange(len(IMAGES)) % 10


@pytest.fixture
def exported(tmp_path):
    deployed = uniform_network("residual", uniform(4))
    path = tmp_path / "net.onnx"
    export_onnx(deployed, path)
    return path, deployed


@pytest.mark.parametrize("family", FAMILIES)
def test_files_hold_the_bits_of_their_policy(family, tmp_path):
    for deployed in random_networks(family, 8, seed=1):
        export_onnx(deployed, tmp_path / "net.onnx")
        held = read_policy(tmp_path / "net.onnx")
        for address, node in deployed.graph.nodes.items():
            if node.op.weight is not None:
                found, quant = held[address].weight, node.op.weight
                assert (found.bits, found.symmetric) == (quant.bits, quant.integers.symmetric), (
                    address
                )
            for found in held[address].activations if address in held else ():
                quant = node.op.activation
                assert (found and (found.bits, found.symmetric)) == (
                    quant and (quant.bits, quant.integers.symmetric)
                ), address


@pytest.mark.parametrize("family", FAMILIES)
def test_verification_compares_file_and_network(family, tmp_path):
    deployed = random_networks(family, 1, seed=2)[0]
    export_onnx(deployed, tmp_path / "net.onnx")
    with torch.no_grad():
        answers = deployed.module()(IMAGES).argmax(1)
    found = verify(
        tmp_path / "net.onnx", deployed, IMAGES, answers, criterion=Classification(), batch_size=100
    )
    assert found.samples == len(IMAGES)
    assert found.network_error == 0.0
    assert 100 - found.file_error == pytest.approx(found.agreement)
    assert found.agreement >= 99.0
    assert found.nodes["Gemm"] == 1
    head = deployed.weight("head")  # edges follow the policy
    container = "INT8" if head.quant.integers.symmetric else "UINT8"
    assert found.policy["head"].weight == Held(
        8, symmetric=head.quant.integers.symmetric, container=container, scales=head.scale.size
    )


def test_a_tensor_and_its_view_share_a_quantizer(tmp_path):
    graph, codes = Graph(Input("image", (1, 8, 8))), Quant(Int(8, symmetric=False))
    both = {"weight": Quant(Int(8)), "activation": codes}
    graph.add("stem", Conv2d(8, 3, **both))
    pool = graph.add("pool", GlobalPool(codes))
    graph.add("one.flat", Flatten(), pool)
    one = graph.add("one", Linear(10, **both))
    graph.add("other.conv", Conv2d(10, 1, **both), pool)
    other = graph.add("other", Flatten())
    graph.add("sum", Add(codes), one, other)
    deployed = stand_in(graph)
    report = export_onnx(deployed, tmp_path / "net.onnx")
    assert report.nodes["QuantizeLinear"] == 5
    assert (
        verify(
            tmp_path / "net.onnx", deployed, IMAGES, LABELS, criterion=Classification()
        ).agreement
        > 95
    )


def test_another_policy_is_detected(exported):
    path, _ = exported
    with pytest.raises(ExportError, match="policy says Quant"):
        verify(
            path,
            uniform_network("residual", uniform(3)),
            IMAGES,
            LABELS,
            criterion=Classification(),
        )


def test_a_policy_that_is_only_claimed_is_detected(exported):
    path, deployed = exported
    address = "stage0.block0.conv2"
    node = deployed.graph.nodes[address]
    claimed = replace(node, op=replace(node.op, activation=Quant(Int(6, symmetric=False))))
    inputs = {
        slot: replace(scale, quant=Quant(Int(6, symmetric=False))) if slot[0] == address else scale
        for slot, scale in deployed.inputs.items()
    }
    deployed.graph.nodes[address] = claimed
    try:
        with pytest.raises(ExportError, match=f"activation at {address}, input 0 is Held"):
            verify(
                path, replace(deployed, inputs=inputs), IMAGES, LABELS, criterion=Classification()
            )
    finally:
        deployed.graph.nodes[address] = node


def tampered(path, change):
    model = onnx.load(path)
    change(model)
    onnx.save(model, path)


def test_a_wider_clip_is_detected(exported):
    path, deployed = exported

    def widen(model):
        clip = next(node for node in model.graph.node if node.op_type == "Clip")
        bound = next(t for t in model.graph.initializer if t.name == clip.input[2])
        bound.raw_data = np.uint8(31).tobytes()

    tampered(path, widen)
    with pytest.raises(ExportError, match="activation at"):
        verify(path, deployed, IMAGES, LABELS, criterion=Classification())


def test_a_clip_of_no_width_is_detected(exported):
    path, _ = exported

    def cut(model):
        clip = next(node for node in model.graph.node if node.op_type == "Clip")
        bound = next(t for t in model.graph.initializer if t.name == clip.input[2])
        bound.raw_data = np.uint8(12).tobytes()

    tampered(path, cut)
    with pytest.raises(ExportError, match=r"0\.\.12 around"):
        read_policy(path)


def test_a_missing_quantizer_is_detected(exported):
    path, deployed = exported

    def drop(model):
        quantize = next(node for node in model.graph.node if node.op_type == "QuantizeLinear")
        twin = model.graph.node.add()
        twin.CopyFrom(quantize)
        twin.output[0] = "twin"

    tampered(path, drop)
    with pytest.raises(ExportError, match="20 quantizers, its policy needs 19"):
        verify(path, deployed, IMAGES, LABELS, criterion=Classification())


def test_a_false_label_is_detected(exported):
    path, deployed = exported

    def relabel(model):
        entry = next(e for e in model.metadata_props if e.key == "elastic_nas.policy")
        stated = json.loads(entry.value)
        stated["head"]["weight"][0] = 4
        entry.value = json.dumps(stated)

    tampered(path, relabel)
    with pytest.raises(ExportError, match="states another policy"):
        verify(path, deployed, IMAGES, LABELS, criterion=Classification())


def test_damaged_files_are_named(exported, tmp_path):
    path, deployed = exported
    content = path.read_bytes()
    with pytest.raises(ExportError, match="there is no file"):
        read_policy(tmp_path / "none.onnx")
    for length in (0, 10, len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        with pytest.raises(ExportError, match=r"net\.onnx"):
            verify(path, deployed, IMAGES, LABELS, criterion=Classification())


def edited(path, change):
    """The file after `change` of its model."""
    model = onnx.load(path)
    change(model)
    path.write_bytes(model.SerializeToString())


def first(model, kind):
    return next(node for node in model.graph.node if node.op_type == kind)


def own_input(model):
    node = first(model, "DequantizeLinear")
    node.input[0] = node.output[0]


def given_twice(model):
    node = first(model, "DequantizeLinear")
    model.graph.node.add(op_type="Cast", input=[node.output[0]], output=[node.output[0]])


def tensor_lost(model):
    model.graph.initializer.remove(model.graph.initializer[0])


def shape_changed(model):
    model.graph.initializer[0].dims[:] = [10**12]


def another_file(model):
    tensor = model.graph.initializer[0]
    tensor.external_data.add(key="location", value="secret")
    tensor.data_location = onnx.TensorProto.EXTERNAL


def another_file_within(model):
    inner = onnx.helper.make_graph([], "inner", [], [], [onnx.TensorProto(name="far")])
    another_file(holder := onnx.helper.make_model(inner))
    node = onnx.helper.make_node("If", [], ["out"], then_branch=holder.graph)
    model.graph.node.append(node)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (own_input, "read before it is given"),
        (given_twice, "given twice"),
        (tensor_lost, "read before it is given"),
        (shape_changed, "export the network again"),
        (another_file, "names another file"),
        (another_file_within, "names another file"),
    ],
)
def test_a_file_that_is_built_otherwise_is_refused_in_a_sentence(exported, change, words):
    path, deployed = exported
    path.with_name("secret").write_bytes(bytes(4))
    edited(path, change)
    with pytest.raises(ExportError, match=words):
        verify(path, deployed, IMAGES, LABELS, criterion=Classification())
