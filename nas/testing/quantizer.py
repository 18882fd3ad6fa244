"""What every fake quantizer must do, whatever its precision."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor

from search_spaces.quant import Quant
from supernets.quantizers import Quantizer


class QuantizerContract:
    """Give `quant`, the precision under test, and inherit the tests."""

    channels = 6

    @pytest.fixture
    def quant(self) -> Quant:
        raise NotImplementedError("a subclass says which precision it tests")

    @pytest.fixture
    def values(self) -> Tensor:
        generator = torch.Generator().manual_seed(3)
        scale = torch.linspace(0.1, 2.0, self.channels).reshape(-1, 1, 1, 1)
        return torch.randn(self.channels, 4, 3, 3, generator=generator) * scale

    @pytest.fixture
    def quantizer(self, quant: Quant, values: Tensor) -> Quantizer:
        quantizer = Quantizer([quant], self.channels)
        quantizer.initialise(values)
        return quantizer

    def test_codes_are_integers_within_their_range(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        zero = quantizer.zero_point(quant).reshape(-1, 1, 1, 1)
        codes = quantizer.grid(10 * values, quant).codes(10 * values) + zero
        low, high = quant.code_range
        assert low == int(codes.min())
        assert high == int(codes.max())

    def test_output_is_step_times_code(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        grid = quantizer.grid(values, quant)
        assert torch.equal(quantizer(values, quant), grid.codes(values) * grid.step)

    def test_quantizing_again_changes_nothing(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        once = quantizer(values, quant)
        assert torch.equal(quantizer(once, quant), once)

    def test_zero_stays_zero(self, quantizer: Quantizer, quant: Quant, values: Tensor) -> None:
        assert not quantizer(torch.zeros_like(values), quant).any()

    def test_rounds_to_the_nearest_inside_and_clamps_outside(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        grid = quantizer.grid(values, quant)
        zero = quantizer.zero_point(quant).reshape(-1, 1, 1, 1)
        low, high = ((bound - zero) * grid.step for bound in quant.code_range)
        expected = torch.minimum(torch.maximum(values, low), high)
        error = (quantizer(values, quant) - expected).abs()
        assert (error <= 0.5001 * grid.step).all()

    def test_a_narrower_tensor_uses_the_first_steps(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        assert torch.equal(quantizer(values[:2], quant), quantizer(values, quant)[:2])

    def test_gradient_passes_inside_only(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        x = (1.5 * values).requires_grad_()
        quantizer(x, quant).sum().backward()
        grid = quantizer.grid(x.detach(), quant)
        unclamped = torch.round(x.detach() / grid.step)
        inside = unclamped == grid.codes(x.detach())
        assert x.grad is not None
        assert torch.equal(x.grad, inside.float())
        assert not inside.all()

    def test_the_step_has_a_gradient(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        quantizer(1.5 * values, quant).square().sum().backward()
        (gradient,) = [p.grad for p in quantizer.parameters()]
        assert gradient is not None
        assert gradient.isfinite().all()
        assert (gradient != 0).all()

    def test_the_first_step_cannot_be_bettered_by_a_multiple(
        self, quantizer: Quantizer, quant: Quant, values: Tensor
    ) -> None:
        def error() -> float:
            return (quantizer(values, quant) - values).square().sum().item()

        least = error()
        (log_step,) = quantizer.parameters()
        first = log_step.detach().clone()
        for factor in torch.linspace(0.3, 3.0, 28):
            log_step.data = first + factor.log()
            assert error() >= 0.98 * least
