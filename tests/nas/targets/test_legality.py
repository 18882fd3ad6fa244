"""Options that no target can run leave the space before the search."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest

from nas.targets import HardwareTarget, TargetError, legal, load_target
from search_spaces.graph import Graph
from search_spaces.ops import Add, Flatten, Input, Learned, Opaque, Outputs, Read, Resize
from search_spaces.policy import Policy
from search_spaces.quant import PerChannel, PerTensor
from search_spaces.residual import residual
from search_spaces.space import SearchSpace


def _space(**policy) -> SearchSpace:
    return residual(
        inputs=(Input("image", (1, 8, 8)),),
        output=(10,),
        widths=((8, 16), (8, 16)),
        depths=((1, 2),),
        policy=Policy(**policy),
    )


def test_a_space_that_runs_is_left_as_it_is() -> None:
    space = _space(weight_bits=(2, 3, 8), activation_bits=(4, 8))
    assert legal(space, [load_target("edge-npu"), load_target("bit-serial")]) is space


def test_resizing_an_input_needs_no_device_and_resizing_a_tensor_does() -> None:
    target = load_target("tiny-mcu")
    assert "Resize" not in target.capability.supports
    widths = {"widths": ((8, 16), (8, 16)), "depths": ((1, 2),)}
    policy = Policy(weight_bits=(8,), activation_bits=(8,))
    one = residual((Input("image", (1, 8, 8)),), (10,), policy=policy, **widths)
    space = residual(
        (Input("image", (1, 8, 8)),), (10,), image_sizes=(6, 8), policy=policy, **widths
    )
    assert legal(space, [target]) is space
    native = space.largest
    assert target.costs(space.decode(native)) == target.costs(one.decode(one.largest))
    smaller = target.costs(space.decode((0, *native[1:])))
    assert smaller["latency_ms"] < target.costs(space.decode(native))["latency_ms"]
    behind = Graph.from_nodes(dict(space.graph.nodes))
    behind.add("more.resize", Resize(4), "stem.relu")
    with pytest.raises(TargetError, match=r"refuses node 'more.resize': Resize is not among"):
        legal(SearchSpace(behind), [target])


def test_full_precision_goes_where_only_bit_serial_runs() -> None:
    space = _space(weight_bits=(4, 8, None), activation_bits=(8, None))
    narrowed = legal(space, [load_target("bit-serial")])
    assert narrowed == _space(weight_bits=(4, 8), activation_bits=(8,))
    rows = narrowed.sample_array(np.random.default_rng(0), 50)
    assert np.isfinite(load_target("bit-serial").compile(narrowed)["latency_ms"](rows)).all()
    assert legal(space, [load_target("bit-serial"), load_target("edge-npu")]) is space


def test_symmetry_and_granularity_nested_in_bits_go_too() -> None:
    space = _space(
        weight_bits=(4, 8, None),
        weight_symmetries=(True, False),
        weight_granularities=(PerTensor(), PerChannel()),
        activation_granularities=(PerTensor(), PerChannel()),
    )
    narrowed = legal(space, [load_target("edge-npu")])
    names = {choice.name for choice in narrowed.choices}
    assert "stage0.block0.weight.granularity" in names
    assert "stage0.block0.weight.symmetric" not in names
    assert "stage0.block0.activation.granularity" not in names


def test_a_refusing_target_keeps_only_its_native_bits() -> None:
    edge = load_target("edge-npu")
    strict = dataclasses.replace(edge.capability, otherwise="refuse")
    space = _space(weight_bits=(2, 4, 8), activation_bits=(4, 8))
    narrowed = legal(space, [dataclasses.replace(edge, capability=strict)])
    assert narrowed == _space(weight_bits=(4, 8), activation_bits=(4, 8))


def test_nothing_left_says_why_for_each_target() -> None:
    space = _space(weight_bits=(8,), activation_bits=(8,), edge_bits=None)
    with pytest.raises(TargetError, match=r"bit-serial refuses node 'stem': .* at int2xint2"):
        legal(space, [load_target("bit-serial")])


def test_one_target_that_can_run_nothing_does_not_stop_the_others() -> None:
    edge = load_target("edge-npu")
    none: HardwareTarget = dataclasses.replace(
        edge, name="none", capability=dataclasses.replace(edge.capability, supports={})
    )
    space = _space(weight_bits=(4, 8), weight_symmetries=(True, False))
    assert legal(space, [none, edge]) == _space(weight_bits=(4, 8), weight_symmetries=(True,))


def test_a_device_without_opaque_calls_refuses_them_by_name() -> None:
    graph, shape = Graph(Input("signal", (4, 9))), (4, 9)
    call = Opaque(target="aten.cumsum.default", arguments=(Read(0), 1), seen=(shape,), shape=shape)
    graph.add("summed", call)
    space = SearchSpace(graph, name="own")
    assert legal(space, [load_target("this-cpu")]) is space
    with pytest.raises(
        TargetError, match=r"'summed': the opaque call aten\.cumsum\.default is not"
    ):
        legal(space, [load_target("edge-npu")])


def test_a_tensor_of_the_network_and_several_outputs_need_no_device() -> None:
    graph = Graph(Input("signal", (4, 9)))
    graph.add("bias", Learned((4, 9)))
    graph.add("sum", Add(), "input", "bias")
    graph.add("flat", Flatten())
    graph.add("outputs", Outputs(names=("sum", "flat")), "sum", "flat")
    space = SearchSpace(graph, name="own")
    assert legal(space, [load_target("edge-npu")]) is space
