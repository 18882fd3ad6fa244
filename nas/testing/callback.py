"""The contract of a callback, an addition to a training."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from nas.testing.training import context_of, one_network, points_space, trained
from search_spaces.space import Genotype
from supernets.checkpoint import load_state
from supernets.supernet import Supernet
from supernets.training.callbacks import Callback
from supernets.training.context import Moment, TrainingContext
from supernets.training.methods import Methods


class Stopped(Exception):
    """The end of a training that is interrupted."""


class CallbackContract:
    """Give `kind`, the class under test, and inherit the tests.

    The trainings of the tests have networks with weights of 2 and 8 bits, two epochs in full
    precision and two quantized epochs.
    """

    kind: type[Callback]

    @pytest.fixture
    def methods(self) -> Methods:
        return Methods(callbacks={"tested": self.kind})

    def test_a_training_that_is_stopped_and_resumed_ends_the_same(
        self, methods: Methods, tmp_path: Path
    ) -> None:
        torch.manual_seed(0)
        whole, _ = trained(tmp_path / "whole", methods=methods)
        for stop in (1, 6, 8, 11):
            with pytest.raises(Stopped):
                trained(tmp_path / "state", methods=methods, progress=stop_at(stop))
        torch.manual_seed(1)  # global generators are not read
        resumed, _ = trained(tmp_path / "state", methods=methods)
        assert_same(whole.state_dict(), resumed.state_dict())
        space = points_space().fingerprint
        ends = [load_state(tmp_path / n, fingerprint=space)[0] for n in ("whole", "state")]
        assert_same(*ends)

    def test_the_memory_keeps_its_form(self, methods: Methods, tmp_path: Path) -> None:
        made: list[Callback] = []
        forms: list[dict[str, tuple[torch.Size, torch.dtype]]] = []

        def make(context: TrainingContext) -> Callback:
            made.append(self.kind(context))
            forms.append(form_of(made[0].tensors()))
            return made[0]

        trained(
            tmp_path / "state",
            methods=Methods(callbacks={"tested": make}),
            progress=lambda *_: forms.append(form_of(made[0].tensors())),
        )
        assert all(form == forms[0] for form in forms)
        other = self.kind(context_of(points_space()))
        other.restore({name: tensor.clone() for name, tensor in made[0].tensors().items()})
        assert_same(made[0].tensors(), other.tensors())

    @pytest.mark.parametrize(
        "changed",
        [{"quantized_epochs": 0}, {"float_epochs": 0}, {"quantized_epochs": 1, "batch_size": 24}],
        ids=["full precision only", "quantized from the start", "one quantized step"],
    )
    def test_phases_of_any_length_are_trained(
        self, methods: Methods, changed: dict[str, Any], tmp_path: Path
    ) -> None:
        supernet, history = trained(tmp_path / "state", methods=methods, **changed)
        assert np.isfinite(history.losses).all()
        assert all(parameter.isfinite().all() for parameter in supernet.parameters())

    def test_a_space_of_one_network_is_trained(self, methods: Methods, tmp_path: Path) -> None:
        supernet, history = trained(tmp_path / "state", methods=methods, space=one_network())
        assert np.isfinite(history.losses).all()
        assert all(parameter.isfinite().all() for parameter in supernet.parameters())

    def test_parameters_change_in_the_update_only_and_keep_their_form(self, tmp_path: Path) -> None:
        made: list[_Watched] = []

        def make(context: TrainingContext) -> Callback:
            made.append(_Watched(context, self.kind(context)))
            return made[-1]

        torch.manual_seed(2)
        numbers = torch.get_rng_state()
        supernet, _ = trained(tmp_path / "state", methods=Methods(callbacks={"tested": make}))
        assert torch.equal(torch.get_rng_state(), numbers), "draws from torch's global generator"
        assert [*map(id, supernet.parameters())] == made[0].identities
        fresh = Supernet(supernet.space, seed=0)
        assert form_of(dict(supernet.named_parameters())) == form_of(dict(fresh.named_parameters()))
        assert all(parameter.requires_grad for parameter in supernet.parameters())


class _Watched(Callback):
    """A callback that checks of another that parameters and buffers change in updates only."""

    def __init__(self, context: TrainingContext, watched: Callback) -> None:
        super().__init__(context)
        self.watched, self.observes = watched, watched.observes
        self.identities = [*map(id, context.supernet.parameters())]

    def before_step(self, moment: Moment) -> None:
        with self._unchanged("before_step"):
            self.watched.before_step(moment)

    def observe(self, place: int, address: str, position: int, value: Tensor) -> None:
        before = value.detach().clone()
        with self._unchanged("observe"):
            self.watched.observe(place, address, position, value)
        assert torch.equal(value, before), "observe changes the input"

    def penalty(self, moment: Moment, place: int, genotype: Genotype) -> Tensor | None:
        with self._unchanged("penalty"):
            added = self.watched.penalty(moment, place, genotype)
        assert added is None or added.shape == (), "a penalty is a scalar"
        return added

    def after_pass(self, moment: Moment, place: int, genotype: Genotype) -> None:
        with self._unchanged("after_pass"):
            self.watched.after_pass(moment, place, genotype)

    def before_update(self, moment: Moment) -> None:
        with self._unchanged("before_update"):
            self.watched.before_update(moment)

    def after_update(self, moment: Moment) -> None:
        self.watched.after_update(moment)

    def finish(self) -> None:
        self.watched.finish()

    @contextmanager
    def _unchanged(self, method: str) -> Iterator[None]:
        held = self.context.supernet.state_dict()
        before = {name: tensor.clone() for name, tensor in held.items()}
        yield
        changed = [name for name, tensor in held.items() if not torch.equal(tensor, before[name])]
        assert not changed, f"{method} changes {changed}"


def form_of(tensors: dict[str, Tensor]) -> dict[str, tuple[torch.Size, torch.dtype]]:
    return {name: (tensor.shape, tensor.dtype) for name, tensor in tensors.items()}


def assert_same(one: dict[str, Tensor], other: dict[str, Tensor]) -> None:
    assert one.keys() == other.keys()
    for name, tensor in one.items():
        assert torch.equal(tensor.nan_to_num(), other[name].nan_to_num()), name


def stop_at(stop: int) -> Callable[..., None]:
    """A function for `progress` that stops a training after a number of steps."""

    def progress(done: int, *_: object) -> None:
        if done == stop:
            raise Stopped

    return progress
