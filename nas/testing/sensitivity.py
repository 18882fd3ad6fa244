"""The contract of a kind of sensitivity."""

from __future__ import annotations

import math

import pytest
import torch
from torch import Tensor, fx, nn

from predictors.proxies.sensitivity import Entry, Sensitivity, Site, Study, measured
from search_spaces.formats import E4M3, Int
from search_spaces.quant import PerChannel, Quant

BITS = (2, 4, 8)


def divergence(out: Tensor, reference: Tensor) -> Tensor:
    """The Kullback-Leibler divergence of logits from those of a reference, the mean of samples."""
    wanted = reference.log_softmax(-1)
    return (wanted.exp() * (wanted - out.log_softmax(-1))).sum(-1).mean()


class Small(nn.Module):
    """Two convolutions beside a shortcut, and a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Conv2d(1, 4, 3, padding=1)
        self.second = nn.Conv2d(4, 4, 3, padding=1)
        self.head = nn.Linear(4, 3)

    def forward(self, image: Tensor) -> Tensor:
        """The logits of three classes."""
        x = self.first(image).relu()
        x = (self.second(x) + x).relu()
        return self.head(x.mean((2, 3)))


def study(*, batches: int = 2, seed: int = 0) -> Study:
    """A study of a small network: weights and inputs of three layers at 2, 4 and 8 bits.

    The weight of the classifier may have a float format or full precision too.
    """
    with torch.random.fork_rng():
        torch.manual_seed(0)
        module = fx.symbolic_trace(Small().eval())
        inputs = [torch.randn(4, 1, 6, 6) for _ in range(batches)]
    layers = ("first", "second", "head")
    weights = [Quant(Int(bits), PerChannel()) for bits in BITS]
    reads = [Quant(Int(bits, symmetric=False)) for bits in BITS]
    return Study(
        module,
        inputs,
        divergence,
        nodes={layer: layer for layer in layers},
        weights={layer: f"{layer}.weight" for layer in layers},
        precisions={Site("weight", layer): weights for layer in layers}
        | {Site("weight", "head"): [*weights, Quant(E4M3), None]}
        | {Site("activation", layer): reads for layer in layers},
        seed=seed,
    )


class SensitivityContract:
    """The tests of a kind of sensitivity, which a subclass gives as the fixture `sensitivity`."""

    @pytest.fixture
    def sensitivity(self) -> Sensitivity:
        raise NotImplementedError

    def test_gives_every_entry_once_with_a_finite_number(self, sensitivity) -> None:
        subject = study()
        given = list(sensitivity(subject, subject.entries))
        assert sorted(map(str, dict(given))) == sorted(map(str, subject.entries))
        assert len(given) == len(subject.entries)
        assert all(type(value) is float and math.isfinite(value) for _, value in given)
        assert all(value >= 0 for _, value in given)

    def test_more_bits_are_much_less_sensitive(self, sensitivity) -> None:
        subject = study()
        values = dict(sensitivity(subject, subject.entries))
        for site, quants in subject.precisions.items():
            low, _, high = (values[Entry(site, q)] for q in quants[: len(BITS)] if q is not None)
            assert 0 < 10 * high < low

    def test_only_what_is_wanted_is_given_and_with_the_same_numbers(self, sensitivity) -> None:
        subject = study()
        whole, some = dict(sensitivity(subject, subject.entries)), subject.entries[::3]
        part = dict(sensitivity(study(), some))
        assert list(part) == some or set(part) == set(some)
        assert all(part[entry] == pytest.approx(whole[entry], rel=0.5) for entry in some)

    def test_the_same_seed_gives_the_same_numbers(self, sensitivity) -> None:
        first, second = study(seed=3), study(seed=3)
        assert dict(sensitivity(first, first.entries)) == dict(sensitivity(second, second.entries))

    def test_the_network_and_the_samples_are_unchanged(self, sensitivity) -> None:
        subject = study()
        before = {name: tensor.clone() for name, tensor in subject.module.state_dict().items()}
        inputs = [batch for batch in subject.batches if isinstance(batch, Tensor)]
        shown = [batch.clone() for batch in inputs]
        measured(subject, sensitivity)
        after = subject.module.state_dict()
        assert all(torch.equal(after[name], tensor) for name, tensor in before.items())
        assert not any(p.grad is not None for p in subject.module.parameters())
        assert all(torch.equal(x, y) for x, y in zip(inputs, shown, strict=True))

    def test_works_without_gradients_and_in_inference_mode(self, sensitivity) -> None:
        subject = study(batches=1)
        wanted = subject.entries[:1]
        expected = dict(sensitivity(subject, wanted))
        for mode in (torch.no_grad(), torch.inference_mode()):
            again = study(batches=1)
            with mode:
                assert dict(sensitivity(again, wanted)) == expected
