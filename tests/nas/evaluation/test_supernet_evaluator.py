from __future__ import annotations

import pickle
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation, EvaluationError, flat
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.tasks.criteria import Classification, Regression
from search_spaces.space import Genotype
from supernets.calibrate import initialise_steps
from supernets.deploy import Deployment, deploy
from supernets.extract import extract
from supernets.inputs import Inputs
from supernets.supernet import Supernet
from tests.nas.spaces import small_space


@pytest.fixture(scope="module")
def supernet() -> Supernet:
    supernet = Supernet(small_space(), seed=0)
    initialise_steps(supernet, calibration())
    return supernet


def calibration() -> list[torch.Tensor]:
    return list(torch.randn(16, 1, 8, 8, generator=torch.Generator().manual_seed(1)).split(8))


def deployment(supernet: Supernet) -> Deployment:
    return Deployment(supernet, calibration())


def validation() -> list[tuple[Inputs, torch.Tensor]]:
    generator = torch.Generator().manual_seed(2)
    images = torch.randn(50, 1, 8, 8, generator=generator)
    labels = torch.randint(10, (50,), generator=generator)
    return [({"image": x}, y) for x, y in zip(images.split(20), labels.split(20), strict=True)]


@pytest.fixture
def evaluator(supernet: Supernet) -> SupernetEvaluator:
    return evaluator_of(supernet)


def evaluator_of(supernet: Supernet, **options: Any) -> SupernetEvaluator:
    shown = {"criterion": Classification(), "seed": 7, "threads": 1, **options}
    return SupernetEvaluator(deployment(supernet), validation(), **shown)


@pytest.fixture(scope="module")
def genotypes(supernet: Supernet) -> list[Genotype]:
    rng = np.random.default_rng(0)
    drawn = {supernet.space.sample(rng) for _ in range(4)}
    return sorted({*drawn, supernet.space.smallest, supernet.space.largest})


def timeless(evaluations: object) -> list[Evaluation]:
    assert isinstance(evaluations, list)
    return [replace(evaluation, seconds=0.0) for evaluation in evaluations]


def test_it_measures_the_deployed_subnet_on_all_of_the_validation_split(
    supernet: Supernet, evaluator: SupernetEvaluator
) -> None:
    genotype = supernet.space.largest
    ((evaluation,),) = evaluator([genotype])
    module = deploy(extract(supernet, genotype, calibration())).module()
    images = torch.cat([inputs["image"] for inputs, _ in validation()])
    labels = torch.cat([targets for _, targets in validation()])
    with torch.inference_mode():
        logits = module(images)
    assert evaluation.metrics["error"] == 100 * float((logits.argmax(1) != labels).double().mean())
    assert evaluation.metrics["loss"] == pytest.approx(float(F.cross_entropy(logits, labels)))
    assert evaluation.genotype == genotype
    assert evaluation.seed == 7
    assert evaluation.seconds > 0
    assert evaluation.where.endswith(":cpu")


def test_it_stops_where_the_rival_is_out_of_reach(evaluator: SupernetEvaluator) -> None:
    genotype = evaluator._deployment.supernet.space.largest
    ((whole,),) = evaluator([genotype])
    assert whole.complete
    assert whole.answers is not None
    assert whole.answers.error == whole.metrics["error"]
    flawless = replace(whole, answers=Answers.of(np.zeros(50), 50))
    ((stopped,),) = evaluator([genotype], {genotype: flawless}.get)
    assert not stopped.complete
    assert stopped.answers == Answers.of(whole.answers.losses[:20], 50)
    assert stopped.metrics["error"] == pytest.approx(stopped.answers.error)  # behind none by all
    other = replace(whole, answers=Answers.of(np.zeros(40), 40))
    for harmless in (whole, other, replace(whole, answers=None)):
        assert timeless(flat(evaluator([genotype], {genotype: harmless}.get))) == timeless([whole])


def test_samples_held_back_from_the_search_are_told_apart(
    supernet: Supernet, evaluator: SupernetEvaluator
) -> None:
    more = evaluator_of(supernet, whole=40)
    ((again,),), ((one,),) = more([supernet.space.largest]), evaluator([supernet.space.largest])
    assert again.metrics == one.metrics
    assert again.answers == replace(one.answers, whole=40)
    assert timeless(flat(more.factory()()([supernet.space.largest]))) == timeless([again])


def test_the_order_of_evaluation_changes_nothing(
    evaluator: SupernetEvaluator, genotypes: list[Genotype]
) -> None:
    forwards = timeless(flat(evaluator(genotypes)))
    torch.manual_seed(123)
    backwards = timeless(flat(evaluator(genotypes[::-1])))
    assert forwards == backwards[::-1]
    assert len({evaluation.metrics["loss"] for evaluation in forwards}) > 1


def test_the_supernet_stays_as_it_was(
    supernet: Supernet, evaluator: SupernetEvaluator, genotypes: list[Genotype]
) -> None:
    before = {name: tensor.clone() for name, tensor in supernet.state_dict().items()}
    flat(evaluator(genotypes))
    for name, tensor in supernet.state_dict().items():
        assert torch.equal(tensor, before[name]), name


def test_it_yields_each_evaluation_before_the_next_is_begun(
    evaluator: SupernetEvaluator, genotypes: list[Genotype]
) -> None:
    stream = evaluator([genotypes[0], (99,)])
    assert [one.genotype for one in next(stream)] == [genotypes[0]]
    with pytest.raises(EvaluationError, match=r"evaluating genotype \(99,\) failed: InvalidGenot"):
        next(stream)


def test_built_elsewhere_from_read_only_arrays_it_gives_the_same(
    evaluator: SupernetEvaluator, genotypes: list[Genotype]
) -> None:
    factory = evaluator.factory()
    arrays = {name: array.copy() for name, array in factory.arrays.items()}
    for array in arrays.values():
        array.setflags(write=False)  # as Ray hands them out: a write would end the process
    again = pickle.loads(pickle.dumps(replace(factory, arrays={}))).build(arrays)
    assert timeless(flat(again(genotypes))) == timeless(flat(evaluator(genotypes)))


def test_an_evaluator_built_from_arrays_shares_their_memory(evaluator: SupernetEvaluator) -> None:
    factory = evaluator.factory()
    addresses = {array.ctypes.data for array in factory.arrays.values() if array.size}
    built = factory()
    assert isinstance(built, SupernetEvaluator)
    held = {array.ctypes.data for array in built.factory().arrays.values() if array.size}
    assert held == addresses


def test_threads_are_pinned_only_while_it_measures(
    supernet: Supernet, monkeypatch: pytest.MonkeyPatch
) -> None:
    before, during = torch.get_num_threads(), []

    def spy(*_: object) -> None:
        during.append(torch.get_num_threads())

    monkeypatch.setattr("supernets.deploy.extract", spy)
    evaluator = evaluator_of(supernet, threads=before + 1)
    with pytest.raises(EvaluationError):
        flat(evaluator([supernet.space.smallest]))
    assert during == [before + 1]
    assert torch.get_num_threads() == before


def test_data_is_needed(supernet: Supernet) -> None:
    with pytest.raises(ValueError, match="needs inputs for calibration"):
        Deployment(supernet, [])
    with pytest.raises(ValueError, match="needs validation samples"):
        SupernetEvaluator(deployment(supernet), [], criterion=Classification(), seed=0)


def test_further_metrics_are_those_of_all_outputs(supernet: Supernet) -> None:
    named = ("ece", "macro_f1")
    evaluator = evaluator_of(supernet, further=named)
    ((evaluation,),) = evaluator([supernet.space.largest])
    module = evaluator._deployment(supernet.space.largest).module()
    with torch.inference_mode():
        out = torch.cat([module(**inputs) for inputs, _ in validation()])
    target = torch.cat([targets for _, targets in validation()])
    wanted = {name: Classification().further[name].compute(out, target) for name in named}
    assert evaluation.metrics["ece"] == wanted["ece"]
    assert evaluation.metrics["macro_f1_loss"] == wanted["macro_f1"]
    assert timeless(flat(evaluator.factory()()([supernet.space.largest]))) == timeless([evaluation])
    with pytest.raises(ValueError, match=r"no further metrics psnr; name some of top5, ece"):
        evaluator_of(supernet, further=["psnr"])


def test_a_measured_loss_is_held_per_sample(supernet: Supernet) -> None:
    generator = torch.Generator().manual_seed(3)
    batches = [(inputs, torch.randn(len(y), 10, generator=generator)) for inputs, y in validation()]
    evaluator = SupernetEvaluator(deployment(supernet), batches, criterion=Regression(), seed=0)
    ((evaluation,),) = evaluator([supernet.space.smallest])
    module = evaluator._deployment(supernet.space.smallest).module()
    with torch.inference_mode():
        apart = torch.cat([(module(**inputs) - targets) for inputs, targets in batches])
    assert evaluation.answers is not None
    losses = torch.from_numpy(evaluation.answers.losses).float()
    torch.testing.assert_close(losses, apart.abs().mean(1))
    assert evaluation.error == evaluation.answers.error
    assert evaluation.metrics["loss"] == pytest.approx(float(apart.square().mean()), rel=1e-5)
