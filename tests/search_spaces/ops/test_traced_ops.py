"""Operators that a traced network needs: their formulas in torch, their files, what they refuse."""

from __future__ import annotations

from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from search_spaces.graph import Graph
from search_spaces.ops import (
    Activation,
    AdaptiveAvgPool2d,
    Add,
    Affine,
    AvgPool2d,
    BatchNorm2d,
    Clamp,
    Concat,
    DepthwiseConv2d,
    Fixed,
    Input,
    Learned,
    Mean,
    Multiply,
    Op,
    Opaque,
    Outputs,
    Pad,
    Read,
    Samples,
    Scale,
    Shape,
    Slice,
    Word,
)
from search_spaces.space import SearchSpace
from supernets.elastic import compute
from supernets.elastic.opaque import OpaqueError, as_called, batch_first

BATCH = 3


def drawn(*shape: int, seed: int = 0) -> Tensor:
    return torch.randn(BATCH, *shape, generator=torch.Generator().manual_seed(seed))


IMAGE, ROWS = drawn(4, 6, 7), drawn(5, 8, seed=1)
OTHER, GATE = drawn(2, 6, 7, seed=2), drawn(4, 1, 1, seed=3)
COLUMN = {"scale": torch.arange(4.0), "shift": torch.ones(4)}

SAME: list[tuple[Op, tuple[Tensor, ...], Tensor]] = [
    (Scale(0.5, 3.0), (IMAGE,), IMAGE * 0.5 + 3),
    (Scale(-2.0), (IMAGE,), IMAGE * -2),
    (Clamp(-0.5, 0.7), (IMAGE,), IMAGE.clamp(-0.5, 0.7)),
    (Clamp(high=0.7), (IMAGE,), IMAGE.clamp(max=0.7)),
    (Activation("gelu_tanh"), (ROWS,), F.gelu(ROWS, approximate="tanh")),
    (Activation("elu"), (ROWS,), F.elu(ROWS)),
    (Activation("selu"), (ROWS,), F.selu(ROWS)),
    (Activation("softplus"), (ROWS,), F.softplus(ROWS)),
    (Activation("mish"), (ROWS,), F.mish(ROWS)),
    (Add(), (IMAGE, GATE), IMAGE + GATE),
    (Multiply(), (GATE, IMAGE), GATE * IMAGE),
    (Multiply(), (IMAGE[:, :1], GATE), IMAGE[:, :1] * GATE),
    (Concat(2, axis=2), (IMAGE, IMAGE[..., :3]), torch.cat([IMAGE, IMAGE[..., :3]], 3)),
    (Mean((1, 2), keeps=True), (IMAGE,), IMAGE.mean((2, 3), keepdim=True)),
    (Mean((0,)), (ROWS,), ROWS.mean(1)),
    (AdaptiveAvgPool2d((4, 9)), (IMAGE,), F.adaptive_avg_pool2d(IMAGE, (4, 9))),
    (
        AvgPool2d(3, 2, padding=1, counts_padding=False),
        (IMAGE,),
        F.avg_pool2d(IMAGE, 3, 2, 1, count_include_pad=False),
    ),
    (
        AvgPool2d(2, 2, padding=(0, 0, 0, 1), counts_padding=False),
        (IMAGE,),
        F.avg_pool2d(IMAGE, 2, 2, ceil_mode=True, count_include_pad=False),
    ),
    (Slice(1, 1, 6, 2), (IMAGE,), IMAGE[:, :, 1:6:2]),
    (Pad((0, 1, 2), (0, 3, 0), value=2.0), (IMAGE,), F.pad(IMAGE, (2, 0, 1, 3), value=2.0)),
    (Pad((0, 1, 2), (0, 3, 0), "reflect"), (IMAGE,), F.pad(IMAGE, (2, 0, 1, 3), "reflect")),
    (Pad((0, 1, 2), (0, 3, 0), "edge"), (IMAGE,), F.pad(IMAGE, (2, 0, 1, 3), "replicate")),
    (
        Opaque(
            target="aten.cumsum.default",
            arguments=(Read(0), 1),
            seen=((5, 8),),
            shape=(5, 8),
        ),
        (ROWS,),
        ROWS.cumsum(1),
    ),
    (
        Opaque(
            target="aten.add.Tensor",
            arguments=(Read(0), Samples(2)),
            named=(("alpha", 3),),
            seen=((5, 8),),
            shape=(5, 8),
        ),
        (ROWS,),
        ROWS + 2 * BATCH * 3,
    ),
    (Outputs(names=("a", "b")), (ROWS, GATE), torch.cat([ROWS.flatten(1), GATE.flatten(1)], 1)),
]


@pytest.mark.parametrize(("op", "read", "wanted"), SAME, ids=lambda part: type(part).__name__)
def test_an_operator_computes_what_torch_computes(
    op: Op, read: tuple[Tensor, ...], wanted: Tensor
) -> None:
    found = compute(op, {}, *read)
    torch.testing.assert_close(found, wanted)
    assert found.shape[1:] == op.infer(*(tuple(tensor.shape[1:]) for tensor in read))


def test_an_opaque_call_holds_tensors_of_its_own() -> None:
    index = Fixed(0, (3,), "int64")
    op = Opaque(
        target="aten.index.Tensor",
        arguments=(Read(0), (None, index)),
        seen=((5, 8),),
        shape=(3, 8),
    )
    assert op.parameters((5, 8))["fixed0"].shape == (3,)
    found = compute(op, {"fixed0": torch.tensor([4.0, 0.0, 4.0])}, ROWS)
    assert torch.equal(found, ROWS[:, [4, 0, 4]])


def test_an_affine_has_a_factor_and_a_shift_per_channel() -> None:
    scale, shift = COLUMN["scale"][:, None, None], COLUMN["shift"][:, None, None]
    assert torch.equal(compute(Affine(0), COLUMN, IMAGE), IMAGE * scale + shift)
    rows = drawn(5, 4)
    assert torch.equal(compute(Affine(-1), COLUMN, rows), rows * COLUMN["scale"] + COLUMN["shift"])
    assert Affine(-1).parameters((5, 4))["shift"].shape == (4,)


def test_a_learned_tensor_is_there_for_every_sample() -> None:
    values = torch.arange(6.0).reshape(2, 3).requires_grad_()
    found = compute(Learned((2, 3)), {"numbers": values}, IMAGE)
    assert torch.equal(found, values.expand(BATCH, 2, 3))
    assert not compute(Learned((2, 3), trained=False), {"numbers": values}, IMAGE).requires_grad


def test_a_depthwise_convolution_may_have_a_bias() -> None:
    op = DepthwiseConv2d(3, bias=True)
    tensors = {"weight": drawn(1, 3, 3)[:1].expand(4, 1, 3, 3), "bias": torch.arange(4.0)}
    assert op.parameters((4, 6, 7))["bias"].shape == (4,)
    wanted = F.conv2d(IMAGE, tensors["weight"], tensors["bias"], padding=1, groups=4)
    assert torch.equal(compute(op, tensors, IMAGE), wanted)
    assert op.canonical() == DepthwiseConv2d(3)


def test_a_batch_norm_has_its_epsilon() -> None:
    held = {"scale": torch.ones(4), "shift": torch.zeros(4)}
    found = compute(BatchNorm2d(0.1), held, IMAGE)
    torch.testing.assert_close(found, F.batch_norm(IMAGE, None, None, training=True, eps=0.1))
    one = {name: value.numpy() for name, value in held.items()}
    factor, _ = BatchNorm2d(3.0).affine({**one, "mean": one["shift"], "variance": one["scale"]})
    assert factor.tolist() == [0.5] * 4


def test_a_file_holds_every_traced_operator() -> None:
    graph = Graph(Input("image", (4, 6, 7)))
    for number, (op, read, _) in enumerate(SAME):
        if op.arity == 1 and read[0] is IMAGE:
            graph.add(f"op{number}", op, "input")
    graph.add("learned", Learned((2, 3), trained=False), "input")
    graph.add("affine", Affine(), "input")
    seen = (((4, 6, 7),),) * 2
    arguments: tuple[Any, ...] = (
        Read(0, 1, (2, -1, 2, 6, 7), 2),
        (Samples(2), Word("float", "-inf"), Fixed(0, (2,))),
    )
    given = {"target": "aten.made.up", "arguments": arguments, "seen": seen[0], "shape": (4,)}
    graph.add("opaque", Opaque(**given, named=(("dtype", Word("dtype", "float32")),)), "input")
    graph.add("outputs", Outputs(names=("a", "b")), "opaque", "affine")
    space = SearchSpace(graph)
    assert SearchSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize(("batch", "before"), [(0, 1), (0, 2), (1, 1), (1, 3), (2, 5)])
def test_a_call_may_hold_the_batch_anywhere(batch: int, before: int) -> None:
    """The tensor of the call has the batch at one axis, between an outer and an inner factor."""
    whole = [2, 3, 5]
    whole[batch] = before * BATCH * 4
    value = torch.arange(float(torch.Size(whole).numel())).reshape(whole)
    shape = (*whole[:batch], -1, *whole[batch + 1 :])
    held = Read(0, batch, shape, before)
    sample = (*whole[:batch], before, 4, *whole[batch + 1 :])
    ours = batch_first(value, held, sample)
    split = value.reshape(*whole[:batch], before, BATCH, 4, *whole[batch + 1 :])
    assert torch.equal(ours, split.movedim(batch + 1, 0))
    assert torch.equal(as_called(ours, held), value)


REFUSED: list[tuple[Op, tuple[Shape, ...], str]] = [
    (Add(), ((4, 6, 7), (4, 6)), "Add needs equal shapes"),
    (Multiply(), ((4, 6, 7), (2, 1, 1)), "Multiply needs equal shapes"),
    (Concat(2, axis=3), ((4, 6, 7), (4, 6, 7)), "differ along axis 3 only"),
    (Concat(2, axis=1), ((4, 6, 7), (2, 6, 7)), "differ along axis 1 only"),
    (Affine(2), ((4, 6),), "has the axis 2"),
    (Mean((3,)), ((4, 6, 7),), "which has 3"),
    (Slice(0, 2, 5), ((4, 6, 7),), "within it"),
    (Pad((1,), (1,)), ((4, 6),), "1 axes"),
    (Pad((4,), (0,), "reflect"), ((4,),), "which has no more"),
    (SAME[-2][0], ((5, 9),), "traced with the shapes"),
]


@pytest.mark.parametrize(("op", "inputs", "told"), REFUSED)
def test_shapes_that_an_operator_cannot_read_are_refused(
    op: Op, inputs: tuple[Shape, ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        op.infer(*inputs)


MADE: list[tuple[type[Op], dict[str, Any], str]] = [
    (Clamp, {}, "at least one number"),
    (Clamp, {"low": 1.0, "high": 1.0}, "below the high"),
    (Mean, {"axes": ()}, "one or more"),
    (Mean, {"axes": (1, 1)}, "each once"),
    (Slice, {"axis": 0, "start": 3, "stop": 3}, "holds nothing"),
    (Pad, {"before": (1,), "behind": (1, 2)}, "each axis"),
    (Outputs, {"names": ("a", "a")}, "its own name"),
]


@pytest.mark.parametrize(("kind", "fields", "told"), MADE)
def test_an_operator_that_means_nothing_is_refused(
    kind: type[Op], fields: dict[str, Any], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        kind(**fields)


@pytest.mark.parametrize(
    ("target", "arguments", "told"),
    [
        ("os.system.default", (Read(0),), "only functions of torch's own aten"),
        ("aten.cumsum.default", (), "reads 1 inputs"),
        ("aten.cumsum.default", (Read(1),), "reads 1 inputs"),
        ("aten.cumsum.default", (Read(0), Scale(2.0)), "has the argument"),
    ],
)
def test_an_opaque_call_is_one_of_torch_that_reads_its_inputs(
    target: str, arguments: tuple[Any, ...], told: str
) -> None:
    with pytest.raises(ValueError, match=told):
        Opaque(target=target, arguments=arguments, seen=((4,),), shape=(4,))


@pytest.mark.parametrize(
    ("target", "told"),
    [
        ("aten.relu_.default", "only computes"),  # changes its argument
        ("aten.bernoulli.default", "only computes"),  # random
        ("aten.item.default", "only computes"),  # gives a number
        ("aten.not_there.default", "no function"),
    ],
)
def test_an_opaque_call_only_computes(target: str, told: str) -> None:
    op = Opaque(target=target, arguments=(Read(0),), seen=((4,),), shape=(4,))
    with pytest.raises(OpaqueError, match=told):
        compute(op, {}, torch.ones(1, 4))
