"""The contract of an operator: a true description, an elastic forward, an equal stock layer.

The module `deployment` holds the tests of an operator within networks.
"""

from __future__ import annotations

from collections.abc import Sequence

import pytest
import torch
from torch import Tensor
from torch.utils.flop_counter import FlopCounterMode

from nas.testing.deployment import DeploymentContract, Form
from search_spaces.ops import Op, Shape
from supernets.elastic import compute, corner, sliced, stock

BATCH = 3


class OperatorContract(DeploymentContract):
    """The tests of an operator.

    A subclass gives the fixture `forms`: resolved forms of one operator, each with the shapes that
    the form reads, largest first.
    """

    @pytest.fixture
    def forms(self) -> Sequence[Form]:
        raise NotImplementedError("a subclass gives the forms of its operator, largest first")

    @pytest.fixture
    def shared(self, forms: Sequence[Form]) -> dict[str, Tensor]:
        op, inputs = forms[0]
        generator = torch.Generator().manual_seed(0)
        return {
            name: torch.randn(parameter.shape, generator=generator).requires_grad_()
            for name, parameter in op.parameters(*inputs).items()
        }

    def inputs_of(self, op: Op, inputs: tuple[Shape, ...]) -> list[Tensor]:
        """Random inputs of the given shapes, with a batch axis."""
        generator = torch.Generator().manual_seed(1)
        shapes = [(BATCH, *shape) for shape in inputs]
        if op.reads == "int64":
            return [torch.randint(0, 2, shape, generator=generator) for shape in shapes]
        return [torch.randn(shape, generator=generator) for shape in shapes]

    def test_the_described_shape_is_the_real_one(
        self, forms: Sequence[Form], shared: dict[str, Tensor]
    ) -> None:
        for op, inputs in forms:
            output = compute(op, sliced(op, shared, *inputs), *self.inputs_of(op, inputs))
            assert output.shape == (BATCH, *op.infer(*inputs))

    def test_macs_are_half_of_torchs_flops(
        self, forms: Sequence[Form], shared: dict[str, Tensor]
    ) -> None:
        for op, inputs in forms:
            with FlopCounterMode(display=False) as counter:
                compute(op, sliced(op, shared, *inputs), *self.inputs_of(op, inputs))
            assert counter.get_total_flops() == 2 * BATCH * op.macs(*inputs)

    def test_the_weight_has_the_described_size(
        self, forms: Sequence[Form], shared: dict[str, Tensor]
    ) -> None:
        for op, inputs in forms:
            shape = op.weight_shape(*inputs)
            weight = sliced(op, shared, *inputs).get("weight")
            assert (weight is None) == (shape is None)
            if weight is not None and shape is not None:
                assert weight.reshape(shape).shape == shape

    def test_the_stock_layer_gives_equal_bits(
        self, forms: Sequence[Form], shared: dict[str, Tensor]
    ) -> None:
        for op, inputs in forms:
            tensors, given = sliced(op, shared, *inputs), self.inputs_of(op, inputs)
            layer = stock(op, tensors, *inputs)
            if layer is not None:
                assert type(layer).__module__.startswith("torch.nn")
                assert torch.equal(layer(*given), compute(op, tensors, *given))

    def test_the_stock_layer_shares_no_memory(
        self, forms: Sequence[Form], shared: dict[str, Tensor]
    ) -> None:
        op, inputs = forms[0]
        layer = stock(op, sliced(op, shared, *inputs), *inputs)
        ours = {tensor.data_ptr() for tensor in shared.values()}
        assert layer is None or ours.isdisjoint(p.data_ptr() for p in layer.parameters())

    def test_gradients_reach_the_active_part_only(
        self, forms: Sequence[Form], shared: dict[str, Tensor]
    ) -> None:
        for op, inputs in forms:
            for tensor in shared.values():
                tensor.grad = None
            output = compute(op, sliced(op, shared, *inputs), *self.inputs_of(op, inputs))
            if not shared:
                continue
            (output**3).sum().backward()
            for name, parameter in op.parameters(*inputs).items():
                gradient = shared[name].grad
                assert gradient is not None
                assert (corner(gradient, parameter) != 0).all()
                corner(gradient, parameter).zero_()
                assert not gradient.any()
