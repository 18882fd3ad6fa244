"""What every quantizer of a supernet must do, whatever its precision."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from torch import Tensor

from search_spaces.formats import Int
from search_spaces.ops import Parameter
from search_spaces.quant import Quant
from supernets.encoded import EncodedTensor
from supernets.quantizers import Quantizer

SHAPE = (6, 4, 3, 3)


class QuantizerContract:
    """Give `kind`, the class under test, and `quant`, a precision, and inherit the tests.

    The weight of the tests is `(6, 4, 3, 3)`; the precision must fit it and `(2, 2, 3, 3)`.
    """

    kind: type[Quantizer]

    @pytest.fixture
    def quant(self) -> Quant:
        raise NotImplementedError("a subclass says which precision it tests")

    def slack(self, quant: Quant) -> float:
        """How far beyond the nearest number a value may end, in steps: 0 for a single rounding."""
        return 0.0

    @pytest.fixture
    def values(self) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        scale = torch.linspace(0.1, 2.0, SHAPE[0]).reshape(-1, 1, 1, 1)
        return torch.randn(SHAPE, generator=generator) * scale

    @pytest.fixture
    def quantizer(self, quant: Quant, values: Tensor) -> Quantizer:
        weight = Parameter(SHAPE, ("out", "in", "window", "window"))
        quantizer = self.kind([quant], weight)
        quantizer.initialise(values)
        return quantizer

    def test_numbers_reach_both_ends_of_the_format(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        numbers = quantizer.encode(100 * values, quant, SHAPE).numbers()
        assert (numbers.min(), numbers.max()) == quant.format.bounds

    def test_a_device_computes_the_same_from_the_codes(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        for x in (values, values[:2, :2], 10 * values):
            encoded = quantizer.encode(x, quant, tuple(x.shape))
            held = torch.from_numpy(encoded.values())
            if quantizer.exact:
                assert torch.equal(quantizer(x, quant), held)
            else:
                step = _of_number(encoded, 1.0) - _of_number(encoded, 0.0)
                lost = (quantizer(x, quant) - held).abs().detach().numpy()
                assert lost.any()
                assert (lost < step).all()

    def test_scales_are_of_their_format(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        scale = quantizer.encode(values, quant, SHAPE).scale
        assert np.array_equal(quant.scales.snap(scale), scale)
        assert (scale > 0).all()

    def test_zero_stays_zero(self, quantizer: Quantizer, quant: Quant, values: Tensor) -> None:
        assert not quantizer(torch.zeros_like(values), quant).any()

    def test_a_grid_has_the_values_and_thresholds(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        if not isinstance(quant.format, Int):
            with pytest.raises((ValueError, NotImplementedError)):
                quantizer.grid(values, quant)
            return
        for x in (values, values[:2, :2]):
            grid = quantizer.grid(x, quant)
            found = grid.position(quantizer(x, quant).detach())
            numbers = found.round().clamp(grid.low, grid.high)
            torch.testing.assert_close(found, numbers, rtol=0, atol=1e-3)
            error = grid.position(x).clamp(grid.low, grid.high) - numbers
            assert (error.abs() <= 0.5 + self.slack(quant) + 1e-3).all()
            torch.testing.assert_close(grid.position(grid.values(numbers)), numbers)

    def test_every_parameter_has_a_gradient(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        x = (1.5 * values).requires_grad_()
        quantizer(x, quant).square().sum().backward()
        assert x.grad is not None
        assert x.grad.isfinite().all()
        for parameter in quantizer.parameters():
            assert parameter.grad is not None
            assert parameter.grad.isfinite().all()
            assert (parameter.grad != 0).all()


class SteppedQuantizerContract(QuantizerContract):
    """The contract of quantizers whose steps are parameters, equal for all values of a tensor."""

    def test_quantizing_again_changes_nothing(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        once = quantizer(values, quant)
        assert torch.equal(quantizer(once, quant), once)

    def test_rounds_to_the_nearest(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        encoded = quantizer.encode(values, quant, SHAPE)
        every = np.unique(quant.format.snap(np.linspace(*quant.format.bounds, 100_000)))
        least = np.full(SHAPE, np.inf)
        for number in every:
            held = _of_number(encoded, number).astype(np.float64)
            least = np.minimum(least, np.abs(held - values.numpy()))
        error = (quantizer(values, quant) - values).abs().detach().numpy()
        step = _of_number(encoded, 1.0) - _of_number(encoded, 0.0)
        assert (error <= 1.0001 * least + 1e-7 + self.slack(quant) * step).all()

    def test_a_narrower_tensor_uses_the_first_steps(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        whole = quantizer(values, quant)
        assert torch.equal(quantizer(values[:2], quant), whole[:2])
        assert torch.equal(quantizer(values[:, :2], quant), whole[:, :2])

    def test_gradient_passes_inside_only(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        x = (3 * values).requires_grad_()
        quantizer(x, quant).sum().backward()
        encoded, (low, high) = quantizer.encode(x, quant, SHAPE), quant.format.bounds
        step = _of_number(encoded, 1.0) - _of_number(encoded, 0.0)
        least = _of_number(encoded, low) - quant.format.reach * step
        most = _of_number(encoded, high) + quant.format.reach * step
        held = x.detach().numpy()
        assert x.grad is not None
        clear = np.minimum(np.abs(held - least), np.abs(held - most)) >= self.slack(quant) * step
        assert np.array_equal(x.grad.numpy()[clear], ((least < held) & (held < most))[clear])
        assert set(np.unique(x.grad.numpy())) <= {0.0, 1.0}
        assert clear.mean() > 0.9
        assert not x.grad.all()


def _of_number(encoded: EncodedTensor, number: float) -> np.ndarray:
    """The values that a weight would have if each of its codes stood for `number`."""
    shape, over = encoded.quant.granularity.split(encoded.codes.shape)
    zero, scale = encoded.zero_point.reshape(over), encoded.scale.reshape(over)
    return np.broadcast_to((number - zero) * scale, shape).reshape(encoded.codes.shape)
