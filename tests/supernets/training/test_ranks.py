"""Two processes on halves of every batch train the weights that one process trains."""

from __future__ import annotations

import os
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.distributed as dist
import torch.multiprocessing

from nas.tasks.criteria import Classification
from nas.testing.sampler import context_of, elastic_space
from search_spaces.ops import BatchNorm2d
from supernets.checkpoint import load_state
from supernets.elastic import compute
from supernets.ranks import ALONE, Ranks
from supernets.supernet import Supernet
from supernets.training.callbacks import Callback
from supernets.training.context import Moment
from supernets.training.methods import Methods
from supernets.training.samplers import UniformSandwich
from supernets.training.samplers.hasb import HessianAware
from supernets.training.train import TrainingDiverged, train
from tests.supernets.stripes import SETTINGS, Stripes, stripes_space

UNEVEN = replace(SETTINGS, float_epochs=1, quantized_epochs=1, batch_size=15, callbacks=("decay",))
WILD = replace(SETTINGS, learning_rate=1e18, gradient_clip=1e30, warmup=0.2)
STOP = 6  # of eight steps, of which the last four are quantized


class Stop(Exception):
    pass


class NoisyStripes(Stripes):
    """Every row has noise of its own, drawn for all rows in their order."""

    def batch(self, rows, rng):
        inputs, targets = super().batch(rows, rng)
        noise = torch.from_numpy(rng.standard_normal(inputs["image"].shape)).float()
        return {"image": inputs["image"] + 0.1 * noise}, targets


class Decay(Callback):
    """A penalty that depends on the weights alone."""

    def penalty(self, moment, place, genotype):
        weights = self.context.supernet.parameter_groups()["weights"]
        return 0.01 * torch.stack([weight.square().sum() for weight in weights]).sum()


class Telling(UniformSandwich):
    """Keeps all losses that the sampler is told and that the sampler measures."""

    def __init__(self, context):
        super().__init__(context)
        self.told, self.measured = [], []

    def draw(self, moment, batch, rng):
        genotypes = [self.space.largest, self.space.smallest]
        self.measured += [*self.context.losses(genotypes, batch, quantize=moment.quantized)]
        return super().draw(moment, batch, rng)

    def tell(self, moment, subnets, losses):
        self.told += losses


def trained(state: Path, *, ranks=ALONE, settings=UNEVEN, stop=None):
    """The weights, the history, and the losses told and measured, as tensors by name."""
    supernet, samplers = Supernet(stripes_space(), seed=1), []

    def sampler(context):
        samplers.append(Telling(context))
        return samplers[-1]

    def interrupt(done, total, losses):
        if done == stop:
            raise Stop

    history = train(
        supernet,
        NoisyStripes.drawn(),
        settings,
        criterion=Classification(),
        state_path=state,
        methods=Methods(sampler=sampler, callbacks={"decay": Decay}),
        progress=interrupt,
        ranks=ranks,
    )
    lists = {"told": samplers[0].told, "measured": samplers[0].measured}
    tensors = {name: torch.from_numpy(np.array(held)) for name, held in lists.items()}
    tensors |= supernet.state_dict()
    return {**tensors, "losses": torch.from_numpy(history.losses)}


def norm_and_gradients(rows: slice):
    """The output of a batch norm for rows of a batch, and all gradients of a sum over the rows."""
    drawn = torch.Generator().manual_seed(0)
    whole = 100.0 + torch.randn(7, 3, 4, 5, generator=drawn)
    factor = torch.randn(whole.shape, generator=drawn)
    x = whole[rows].requires_grad_()
    names = ("scale", "shift")
    tensors = {name: torch.rand(3, generator=drawn).requires_grad_() for name in names}
    out = compute(BatchNorm2d(), tensors, x)
    (out * factor[rows]).sum().backward()
    return {"out": out.detach(), "x": x.grad, **{n: t.grad for n, t in tensors.items()}}


def traces(ranks):
    """The traces that a sampler estimates on whole batches before the first quantized step."""
    context = replace(context_of(elastic_space()), ranks=ranks)
    sampler, moment = HessianAware(context), Moment(context.plan.float_steps, context.plan)
    with ranks.sharing():
        sampler.draw(moment, context.rows(context.batch(0)), context.rng(0, 0))
    return sampler.tensors()


def run_rank(rank: int, folder: str, begun: str):
    """All that the tests compare, saved to files of this process."""
    torch.set_num_threads(1)
    meeting = f"file://{folder}/meeting"
    dist.init_process_group("gloo", init_method=meeting, rank=rank, world_size=2)
    ranks, own = Ranks.of_group(), Path(folder) / str(rank)
    own.mkdir()
    with ranks.sharing():
        torch.save(norm_and_gradients(ranks.rows(7)), own / "norm")
    torch.save(traces(ranks), own / "traces")
    torch.save(trained(own / "state", ranks=ranks), own / "trained")
    with pytest.raises(Stop):
        trained(own / "stopped", ranks=ranks, stop=STOP)
    if ranks.first:
        shutil.copy(own / "stopped", own / "left")
        shutil.copy(begun, own / "begun")
    torch.save(trained(own / "stopped", ranks=ranks), own / "resumed")
    torch.save(trained(own / "begun", ranks=ranks), own / "continued")
    with pytest.raises(TrainingDiverged) as told:
        trained(own / "wild", ranks=ranks, settings=WILD)
    (own / "diverged").write_text(str(told.value))
    dist.barrier()
    os._exit(0)  # gloo's threads abort about one in ten processes that clean up at their end


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    """What a training in one process gives, and the checkpoint of another that was stopped."""
    folder = tmp_path_factory.mktemp("alone")
    with pytest.raises(Stop):
        trained(folder / "stopped", stop=STOP)
    return trained(folder / "state"), folder / "stopped"


@pytest.fixture(scope="module")
def together(tmp_path_factory, alone):
    """The folders of two processes that trained together."""
    folder = tmp_path_factory.mktemp("together")
    torch.multiprocessing.spawn(run_rank, (str(folder), str(alone[1])), nprocs=2)
    return folder / "0", folder / "1"


EXACT = (0.0, 0.0)
ROUNDED = (1e-4, 1e-6)
# A number that is rounded to two bits turns the last bit of a sum into a difference of its own.
QUANTIZED = (2e-3, 1e-3)


def assert_same(found, expected, bounds):
    """All tensors are equal within a relative and an absolute bound."""
    assert found.keys() == expected.keys()
    rtol, atol = bounds
    for name, value in expected.items():
        told = f"{name}: {{}}".format
        torch.testing.assert_close(found[name], value, rtol=rtol, atol=atol, msg=told)


def test_two_processes_train_the_weights_of_one(alone, together):
    found = torch.load(together[0] / "trained")
    assert_same(found, alone[0], QUANTIZED)
    in_full = {"losses": found["losses"][:4]}
    assert_same(in_full, {"losses": alone[0]["losses"][:4]}, ROUNDED)
    assert found["losses"][-1, 0] < found["losses"][0, 0], "something was learnt"


@pytest.mark.parametrize("name", ["trained", "resumed", "continued"])
def test_both_processes_agree_in_every_bit(together, name):
    one, other = (torch.load(folder / name) for folder in together)
    assert_same(one, other, EXACT)


def test_a_resumed_training_of_two_ends_with_the_same_bits(together):
    found, whole = (weights(torch.load(together[0] / name)) for name in ("resumed", "trained"))
    assert_same(found, whole, EXACT)


def test_two_continue_what_one_began_and_one_what_two_began(alone, together, tmp_path):
    expected = weights(alone[0])
    assert_same(weights(torch.load(together[0] / "continued")), expected, QUANTIZED)
    left = Path(shutil.copy(together[0] / "left", tmp_path))
    assert_same(weights(trained(left)), expected, QUANTIZED)


def weights(found):
    """All but what a resumed training does not see again."""
    return {name: value for name, value in found.items() if name not in ("told", "measured")}


def test_a_batch_norm_has_the_statistics_and_gradients_of_the_whole_batch(together):
    whole = norm_and_gradients(slice(None))
    parts = [torch.load(folder / "norm") for folder in together]
    assert [len(part["out"]) for part in parts] == [3, 4]
    found = {name: torch.cat([part[name] for part in parts]) for name in ("out", "x")}
    found |= {name: parts[0][name] + parts[1][name] for name in ("scale", "shift")}
    assert_same(found, whole, ROUNDED)
    own = norm_and_gradients(Ranks(0, 2).rows(7))
    assert (own["out"] - parts[0]["out"]).abs().max() > 0.1, "the rows alone have other statistics"


def test_curvature_is_estimated_on_the_same_batches(together):
    expected = traces(ALONE)
    assert expected["traces"].abs().max() > 0
    for folder in together:
        assert_same(torch.load(folder / "traces"), expected, ROUNDED)


def test_divergence_is_raised_by_both(together):
    told = [(folder / "diverged").read_text() for folder in together]
    assert told[0] == told[1]
    assert "diverged at step" in told[0]


def test_only_the_first_process_writes_checkpoints(together):
    first, second = (folder / "state" for folder in together)
    fingerprint = stripes_space().fingerprint
    assert load_state(first, fingerprint=fingerprint)[1]["step"] == "8"
    assert load_state(second, fingerprint=fingerprint)[1]["step"] == "0", "its copy of the start"


@pytest.mark.parametrize("count", [1, 2, 3, 5])
def test_the_rows_of_all_processes_are_the_batch(count):
    parts = [Ranks(rank, count).rows(7) for rank in range(count)]
    assert [row for part in parts for row in range(7)[part]] == [*range(7)]
    sizes = [part.stop - part.start for part in parts]
    assert max(sizes) - min(sizes) <= 1


def test_a_process_alone_exchanges_nothing(tmp_path):
    ranks, tensor = Ranks(), torch.ones(2)
    ranks.add(tensor)
    assert ranks.share(tensor) == 1
    assert tensor.tolist() == [1, 1]
    assert ranks.rows(5) == slice(0, 5)
    ranks.copy(tmp_path / "none")
    assert not (tmp_path / "none").exists()


def test_more_processes_than_rows_are_refused(tmp_path):
    with pytest.raises(ValueError, match=r"16 processes.*batch_size = 15"):
        trained(tmp_path / "state", ranks=Ranks(0, 16))
