"""`nas.fit` with a few epochs from the user's weights, which never make a policy worse."""

from __future__ import annotations

import contextlib
from dataclasses import replace
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from torch import nn

import nas
from nas.own import lessons
from nas.own.calling import Calling
from nas.own.evaluator import PolicyEvaluator
from nas.own.lessons import labelled, lesson_of
from nas.own.model import OwnModelError
from nas.own.options import Tuning
from nas.own.samples import Samples
from nas.own.tuned import OWN, TUNED, WEIGHTS, WeighingEvaluator
from nas.own.uniform import FLOAT
from nas.terminal.display import Silent
from search_spaces.opening import Opening
from supernets.checkpoint import CheckpointError
from supernets.tracing import trace
from supernets.training.fine_tune import Imitation, OwnLoss
from tests.nas.api.test_fitting import Both

IMAGES = torch.randn(96, 1, 6, 6, generator=torch.Generator().manual_seed(0))
CLASSES = torch.arange(96) % 4
TUNING = Tuning(epochs=6, learning_rate=0.02, batch_size=8)


def network(seed=0):
    torch.manual_seed(seed)
    parts = [nn.Conv2d(1, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.Flatten(), nn.Linear(128, 4)]
    return nn.Sequential(*parts).eval()


def fit(model=None, **options):
    given = {"calibration": [IMAGES], "targets": "edge-npu", "budget": 1, "epochs": TUNING}
    given["opening"] = Opening(weights=(2, 8, None), activations=(None,))
    given["rewrites"] = ("ranges", "nearest", "round-biases")
    return nas.fit(model or network(), **{**given, **options})


@pytest.fixture(scope="module")
def storage(tmp_path_factory):
    return tmp_path_factory.mktemp("epochs")


@pytest.fixture(scope="module")
def found(storage):
    return fit(storage=storage)


def named(found):
    return {name: genotype for genotype, name in found.names.items()}


def test_few_bits_gain_and_the_float_policy_is_the_model_itself(found):
    uniform = named(found)
    frame = found.frame().set_index("policy")
    assert frame.loc[FLOAT, "held_out"] < 1e-6
    better, [few] = found.means.deployment, [one for one in uniform if "int2" in one]
    own = found.means.judge(better.own(uniform[few]).module())
    assert frame.loc[few, "distance to the float network"] < 0.8 * own.metrics["error"]
    assert better(uniform[few]).metadata[WEIGHTS] == TUNED
    assert better(uniform[FLOAT]).metadata[WEIGHTS] == OWN


def test_an_answer_tells_its_weights_and_a_file_holds_them(found, tmp_path):
    best = found.best(limits={"model_bytes": 300})
    assert best.deployed.metadata[WEIGHTS] == TUNED
    assert best.making.startswith("Its weights are tuned")
    whole = found.best(limits={"model_bytes": 1e9})
    assert (whole.name, whole.making) == (
        FLOAT,
        "Its weights are those of your network, unchanged.",
    )
    figures = best.export(tmp_path / "few.onnx").figures
    assert figures == pytest.approx({found.metric.name: best.metrics[found.metric.name]}, rel=1e-3)


def test_the_same_call_trains_and_measures_nothing_again(found, storage, monkeypatch):
    monkeypatch.setattr(PolicyEvaluator, "__call__", None)
    monkeypatch.setattr(WeighingEvaluator, "__call__", None)
    monkeypatch.setattr("supernets.training.train.train_step", None)
    assert fit(storage=storage).frame().equals(found.frame())


def test_each_set_of_formats_learns_by_itself_in_one_storage(found, storage):
    few = Opening(weights=(4, None), activations=(None,))
    other = fit(storage=storage, epochs=1, opening=few)
    assert (
        other.means.deployment.tuned.supernet.space != found.means.deployment.tuned.supernet.space
    )
    plain = fit(storage=storage, epochs=0, opening=few)
    [four] = [one for one in named(other) if "int4" in one]
    error = found.metric.name
    tuned, own = (one.frame().set_index("policy").loc[four, error] for one in (other, plain))
    assert tuned <= own * (1 + 1e-6)
    assert fit(storage=storage).frame().equals(found.frame())


class Watching(Silent):
    """Notes the steps of a tuning, and stops the tuning at one of them."""

    def __init__(self, until=None):
        self.until, self.steps = until, []

    @contextlib.contextmanager
    def stage(self, name):
        def advance(done, total, note):
            if name == "tune":
                self.steps.append(done)
                if done == self.until:
                    raise KeyboardInterrupt

        yield advance


def test_a_killed_tuning_goes_on_to_the_same_networks(found, tmp_path, monkeypatch):
    monkeypatch.setattr(lessons, "GENTLE", replace(lessons.GENTLE, checkpoint_seconds=0))
    with pytest.raises(KeyboardInterrupt):
        fit(storage=tmp_path, display=Watching(until=20))
    after = Watching()
    again = fit(storage=tmp_path, display=after)
    assert after.steps[0] in (20, 21)
    columns = ["policy", "distance to the float network", "held_out"]
    assert again.frame()[columns].equals(found.frame()[columns])


def test_a_tuning_from_other_weights_is_refused(found, storage):
    with pytest.raises(CheckpointError, match="began from other weights"):
        fit(network(seed=1), storage=storage)


def lesson(tuning: Tuning | None, model: nn.Module, few: Samples) -> Any:
    made = lesson_of(tuning, model, few)
    graph = trace(model, few.at(slice(2)).given()).graph
    return made and made(Calling.of(model, graph, few.at(slice(2))))


def test_a_loss_of_ones_own_sees_outputs_in_the_form_of_the_network():
    torch.manual_seed(0)
    model, few = Both().eval(), Samples(("a", "b"), (torch.randn(8, 3), torch.randn(8, 3)))
    batch = {"a": few.tensors[0], "b": few.tensors[1], "label": torch.ones(8)}
    seen = []

    def loss(out, target):
        seen.append(out)
        return (out["sum"].mean(1) - target).square().mean()

    asked = Tuning(epochs=1, loss=loss, data=[batch], batch_size=4)
    made = lesson(asked, model, few)
    assert isinstance(made.criterion, OwnLoss)
    assert torch.equal(made.data.targets, torch.ones(8))
    assert made.criterion.loss(torch.randn(8, 3), torch.ones(8)).ndim == 0
    assert {name: one.shape for name, one in seen[0].items()} == {"sum": (8, 2), "left": (8, 1)}


def test_without_a_loss_the_float_network_is_imitated_on_the_calibration_samples():
    few = Samples((), (IMAGES[:20],))
    made = lesson(Tuning.of(2), network(), few)
    assert isinstance(made.criterion, Imitation)
    assert (len(made.data), made.settings.batch_size) == (20, 20)
    assert made.settings.quantized_epochs == 2
    assert lesson_of(Tuning.of(0), network(), few) is None


@pytest.mark.parametrize(
    ("tuning", "told"),
    [
        (Tuning(epochs=1, loss=F.cross_entropy), "needs samples with targets"),
        (Tuning(epochs=1, batch_size=64), "batches of 64 samples has 20"),
        (Tuning(epochs=1, data=[IMAGES[:, :, :5]]), "does not run on samples"),
        (Tuning(epochs=1, data=[]), "the tuning data gives no samples"),
        (Tuning(epochs=1, loss=F.cross_entropy, data=[]), "the tuning data gives no samples"),
        (Tuning(epochs=1, loss=F.cross_entropy, data=[IMAGES]), "0 tensors beside the inputs"),
        (
            Tuning(epochs=1, loss=F.cross_entropy, data=[(IMAGES, CLASSES[:5])]),
            "5 targets for 96 samples",
        ),
    ],
)
def test_what_nobody_can_learn_from_is_refused_in_one_sentence(tuning, told):
    with pytest.raises(OwnModelError, match=told) as refused:
        lesson_of(tuning, network(), Samples((), (IMAGES[:20],)))
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("given", [{"epochs": 0}, {"epochs": 1, "learning_rate": 0.0}])
def test_numbers_that_make_no_sense_are_refused_at_construction(given):
    with pytest.raises(ValueError, match="a tuning cannot be done: "):
        Tuning(**given)
    with pytest.raises(ValueError, match="epochs is at least 1, given -1"):
        Tuning.of(-1)


def test_targets_stand_behind_the_inputs_in_whatever_form():
    for batch in ((IMAGES, CLASSES), ((IMAGES,), CLASSES), {"input": IMAGES, "label": CLASSES}):
        samples, targets = labelled([batch], network(), most=50)
        assert torch.equal(samples.tensors[0], IMAGES[:50])
        assert torch.equal(targets, CLASSES[:50])
