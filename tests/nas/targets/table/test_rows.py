"""What tells one kernel's latency from another's."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from nas.targets import TargetError, load_target
from nas.targets.capability import Support
from nas.targets.numerics import of_bits
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, Kernel, kernels
from search_spaces.ops import (
    Activation,
    Add,
    BatchNorm2d,
    Concat,
    Conv2d,
    DepthwiseConv2d,
    Flatten,
    GlobalPool,
    Input,
    LayerNorm,
    LeakyReLU,
    Linear,
    MaxPool2d,
    Multiply,
    Op,
    Shape,
)
from search_spaces.space import SearchSpace

KEY = KernelKey("Conv2d", "out=16,kernel=3", "8x4x4", "Activation(function=relu)", "int8", "int8")


def test_a_folded_norm_is_not_part_of_the_key() -> None:
    relu = Activation("relu")
    with_norm = Kernel(Conv2d(16, 3), (BatchNorm2d(), relu), ((8, 4, 4),))
    without = Kernel(Conv2d(16, 3, bias=True), (relu,), ((8, 4, 4),))
    bits = of_bits(8, 8)
    assert KernelKey.of(with_norm, bits) == KernelKey.of(without, bits) == KEY
    alone = KernelKey.of(Kernel(relu, (), ((4, 2, 2),)), of_bits(None, 32))
    assert (alone.operator, alone.fields, alone.fused) == ("Activation", "function=relu", "")
    addition = KernelKey.of(Kernel(Add(), (relu,), ((4, 2, 2),) * 2), of_bits(None, 8))
    assert (addition.inputs, addition.weight) == ("4x2x2+4x2x2", "")


def test_a_key_names_every_operator_of_a_kernel() -> None:
    graph = Graph(Input("image", (8, 4, 4)))
    graph.add("b.expand", Conv2d(24, 1))
    graph.add("b.expand.norm", BatchNorm2d())
    graph.add("b.expand.relu", Activation("relu"))
    graph.add("b.depthwise", DepthwiseConv2d(5))
    graph.add("b.depthwise.norm", BatchNorm2d())
    graph.add("b.pool", GlobalPool())
    graph.add("b.gate", Conv2d(24, 1, bias=True))
    graph.add("b.multiply", Multiply(), "b.depthwise.norm", "b.gate")
    graph.add("b.project", Conv2d(8, 1))
    graph.add("b.add", Add(), "b.project", "input")
    (_, block) = [*kernels(graph, Fusion(regions=("b",)))][-1]
    key = KernelKey.of(block, of_bits(8, 8))
    assert (key.operator, key.fields, key.inputs) == ("Conv2d", "out=24,kernel=1", "8x4x4")
    assert key.fused == (
        "Activation(function=relu)+DepthwiseConv2d(kernel=5)+GlobalPool+Conv2d(out=24,kernel=1)"
        "+Multiply@op2+Conv2d(out=8,kernel=1)+Add@in0"
    )


def test_other_wirings_have_other_keys() -> None:
    def key(wiring: tuple[tuple[int, ...], ...]) -> KernelKey:
        ops = (Conv2d(8, 3), (Conv2d(8, 3), Add()))
        return KernelKey.of(Kernel(*ops, ((8, 4, 4),), wiring), of_bits(8, 8))

    wirings = [((0,), (1,), (2, 0)), ((0,), (1,), (2, 1)), ((0,), (0,), (2, 1))]
    assert [key(wiring).fused for wiring in wirings] == [
        "Conv2d(out=8,kernel=3)+Add@in0",
        "Conv2d(out=8,kernel=3)+Add@op0",
        "Conv2d(out=8,kernel=3)@in0+Add@op0",
    ]


def test_views_have_no_names_and_no_rows() -> None:
    image, bits = (8, 2, 2), of_bits(8, 8)
    head = KernelKey.of(Kernel(Flatten(), (Linear(10),), (image,)), bits)
    assert head == KernelKey.of(Kernel(Linear(10), (), ((32,),)), bits)
    pooled = KernelKey.of(Kernel(GlobalPool(), (Flatten(), Linear(10)), (image,)), bits)
    assert (pooled.inputs, pooled.fused) == ("8x2x2", "Linear(out=10)")
    shapes, wiring = (image, (32,)), ((0,), (0,), (3, 1))
    ops = (Conv2d(8, 1), (Flatten(), Add()))
    assert KernelKey.of(Kernel(*ops, shapes, wiring), bits).inputs == "8x2x2+32"
    assert KernelKey.of(Kernel(*ops, shapes, wiring), bits).fused == "Add@in0@in1"
    with pytest.raises(TargetError, match=r"runs nothing for Flatten\(start=0\)"):
        KernelKey.of(Kernel(Flatten(), (), (image,)), bits)


def test_a_concatenation_of_three_is_not_one_of_two() -> None:
    keys = {KernelKey.of(Kernel(Concat(n), (), ((8, 4, 4),) * n), of_bits(None, 8)) for n in (2, 3)}
    assert {(key.fields, key.inputs) for key in keys} == {
        ("", "8x4x4+8x4x4"),
        ("arity=3", "8x4x4+8x4x4+8x4x4"),
    }


def test_all_fields_of_a_window_are_told() -> None:
    def fields(op: Op) -> str:
        return KernelKey.of(Kernel(op, (), ((8, 9, 9),)), of_bits(None, 8)).fields

    assert fields(Conv2d(16, (3, 5), groups=4, padding=(0, 1))) == (
        "out=16,kernel=[3,5],padding=[0,1],groups=4"
    )
    assert fields(MaxPool2d(3, 2, padding=1)) == "kernel=3,stride=2,padding=1"
    assert fields(DepthwiseConv2d(3, dilation=2)) == "kernel=3,dilation=2"
    assert fields(LeakyReLU(0.2)) == "negative_slope=0.2"
    assert fields(LayerNorm()) == ""


@dataclass(frozen=True)
class Shuffled(Op):
    """An operator of a user: channels of `groups` in turn."""

    groups: int
    turns: tuple[int, ...] = (1,)

    def infer(self, *inputs: Shape) -> Shape:
        return inputs[0]


def test_an_operator_from_outside_is_told_apart_by_its_fields() -> None:
    def key(anchor: Op, *behind: Op) -> KernelKey:
        return KernelKey.of(Kernel(anchor, behind, ((8, 4, 4),)), of_bits(None, 8))

    assert key(Shuffled(2)) != key(Shuffled(4)) != key(Shuffled(4, (1, 2)))
    assert key(Shuffled(4, (1, 2))).fields == "groups=4,turns=[1,2]"
    assert key(Conv2d(8, 3), Shuffled(2)).fused == "Shuffled(groups=2)"


def test_an_operator_from_outside_is_priced_by_a_table_as_any_other(tmp_path: Path) -> None:
    graph = Graph(Input("image", (8, 4, 4)))
    graph.add("shuffle", Shuffled(choice("groups", (2, 4)), (1, 2)))
    graph.add("conv", Conv2d(8, 3))
    space = SearchSpace(graph)
    cpu = load_target("this-cpu", unmeasured=True)
    supports = {**cpu.capability.supports, "Shuffled": Support((of_bits(None, 32),))}
    target = replace(cpu, capability=replace(cpu.capability, supports=supports))
    needed = dict.fromkeys(KernelKey.of(kernel, bits) for kernel, bits in target.natively(space))
    rows = {key: Row(2.0**n, 0.01, 9) for n, key in enumerate(needed)}
    LatencyTable(rows).write(tmp_path / "t.csv")
    table = LatencyTable.read(tmp_path / "t.csv")
    latency = replace(target, model=table).compile(space)["latency_ms"]
    assert [key.fields for key in needed] == [
        "groups=2,turns=[1,2]",
        "groups=4,turns=[1,2]",
        "out=8,kernel=3",
    ]
    assert latency(np.array([[0], [1]])).tolist() == [1 + 4, 2 + 4]


def test_a_key_is_told_in_one_line() -> None:
    kernel = Kernel(Conv2d(16, 3), (Activation("relu"), Add()), ((8, 4, 4), (16, 4, 4)))
    assert str(KernelKey.of(kernel, of_bits(4, 8))) == (
        "Conv2d(out=16,kernel=3) + Activation(function=relu) + Add on 8x4x4+16x4x4, int4xint8, "
        "batch 1"
    )
    assert str(KernelKey.of(Kernel(GlobalPool(), (), ((8, 4, 4),)), of_bits(None, 8))) == (
        "GlobalPool on 8x4x4, int8, batch 1"
    )
