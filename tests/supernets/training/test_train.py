"""Training learns, is a function of its settings alone, and survives being killed at any step."""

import json
import math
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.nn.functional import cross_entropy, kl_div, log_softmax

from nas.tasks.criteria import Classification
from supernets.channels import sorted_places
from supernets.checkpoint import CheckpointError, load_state
from supernets.supernet import Supernet
from supernets.training.callbacks.ema import ExponentialAverage
from supernets.training.context import Moment, TrainingContext
from supernets.training.methods import Methods
from supernets.training.samplers import Sandwich, sandwich
from supernets.training.schedule import TrainingSettings, schedule
from supernets.training.state import TrainingState
from supernets.training.step import TrainingStep
from supernets.training.students.divergences import task_distance
from supernets.training.students.loss import student_loss
from supernets.training.students.mixes import constant
from supernets.training.train import TrainingDiverged, train
from tests.supernets.stripes import SETTINGS, Stripes, stripes_space, train_stripes

ROOT = Path(__file__).parents[3]


@pytest.fixture(autouse=True)
def _one_thread():
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    """An uninterrupted training: supernet, history and the folder with its last checkpoint."""
    torch.set_num_threads(1)
    folder = tmp_path_factory.mktemp("finished")
    return *train_stripes(folder / "state.safetensors"), folder / "state.safetensors"


def assert_same_weights(one, other):
    for name, tensor in one.state_dict().items():
        assert torch.equal(tensor, other.state_dict()[name]), name


def accuracy(supernet, genotype, *, quantize):
    data = Stripes.drawn()
    with torch.no_grad():
        logits = supernet(data.images, genotype, quantize=quantize)
    return (logits.argmax(1) == data.labels).float().mean().item()


def steps_of(supernet):
    groups = supernet.parameter_groups()
    return [*groups["weight_steps"], *groups["input_steps"]]


def test_all_subnets_learn(finished):
    supernet, history, _ = finished
    space = supernet.space
    assert history.losses.shape == (24, 3)
    assert history.float_steps == 12
    assert np.isfinite(history.losses).all()
    assert history.losses[-4:, 0].mean() < history.losses[:4, 0].mean() - 0.3
    assert accuracy(supernet, space.largest, quantize=True) > 0.9
    assert accuracy(supernet, space.smallest, quantize=True) > 0.8


def test_steps_move_in_the_second_phase(finished, tmp_path):
    supernet, _, _ = finished
    short = replace(SETTINGS, quantized_epochs=0)
    before, _ = train_stripes(tmp_path / "state", settings=short)
    assert {step.unique().item() for step in steps_of(Supernet(supernet.space, seed=1))} == {0}
    steps = steps_of(before)
    assert all(parameter.abs().min() > 0 for parameter in steps), "initialised after phase one"
    moved = zip(steps, steps_of(supernet), strict=True)
    assert all(not torch.equal(one, other) for one, other in moved)


def test_training_again_gives_the_same_weights(finished, tmp_path):
    torch.manual_seed(99)  # global generators are not read
    np.random.seed(99)  # noqa: NPY002
    again, history = train_stripes(tmp_path / "state")
    assert_same_weights(finished[0], again)
    assert np.array_equal(history.losses, finished[1].losses)


class Stop(Exception):
    pass


@pytest.mark.parametrize("stops", [(5,), (11, 12, 13), (20, 23)])
def test_an_interrupted_training_ends_with_the_same_weights(finished, tmp_path, stops):
    for stop in stops:

        def interrupt(done, total, losses, stop=stop):
            if done == stop:
                raise Stop

        with pytest.raises(Stop):
            train_stripes(tmp_path / "state", progress=interrupt)
    resumed, history = train_stripes(tmp_path / "state")
    assert_same_weights(finished[0], resumed)
    assert np.array_equal(history.losses, finished[1].losses)


def test_a_training_by_adamw_learns_and_is_resumed(tmp_path):
    settings = replace(SETTINGS, optimizer="adamw", learning_rate=0.01, step_rate=0.02)
    whole, history = train_stripes(tmp_path / "whole", settings=settings)
    assert history.losses[-1, 0] < history.losses[0, 0] / 2

    def interrupt(done, total, losses):
        if done == 12:
            raise Stop

    with pytest.raises(Stop):
        train_stripes(tmp_path / "state", settings=settings, progress=interrupt)
    resumed, again = train_stripes(tmp_path / "state", settings=settings)
    assert_same_weights(whole, resumed)
    assert np.array_equal(history.losses, again.losses)
    with pytest.raises(CheckpointError, match="was made by a training with"):
        train_stripes(tmp_path / "state")


def test_checkpoints_may_lie_any_number_of_steps_back(finished, tmp_path):
    def interrupt(done, total, losses):
        if done == 15:
            raise Stop

    rare = replace(SETTINGS, checkpoint_seconds=1e9)
    with pytest.raises(Stop):
        train_stripes(tmp_path / "state", settings=rare, progress=interrupt)
    _, metadata = load_state(tmp_path / "state", fingerprint=stripes_space().fingerprint)
    assert metadata["step"] == "0"
    assert_same_weights(finished[0], train_stripes(tmp_path / "state")[0])


def test_a_killed_process_ends_with_the_same_weights(finished, tmp_path):
    script = [sys.executable, "-m", "tests.supernets.stripes", str(tmp_path / "state")]
    with subprocess.Popen(script, cwd=ROOT, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        for line in process.stdout:
            if int(line) == 14:
                process.kill()
                break
    assert process.returncode == -9
    seen = []
    resumed, _ = train_stripes(tmp_path / "state", progress=lambda done, *_: seen.append(done))
    assert 14 <= seen[0] <= 24, "goes on instead of starting anew"
    assert_same_weights(finished[0], resumed)


def test_a_finished_training_returns_at_once(finished):
    _, history, path = finished
    again, read = train_stripes(path, progress=lambda *_: pytest.fail("no step is left"))
    assert_same_weights(finished[0], again)
    assert np.array_equal(read.losses, history.losses)


def test_progress_names_every_step(tmp_path):
    seen = []
    short = replace(SETTINGS, float_epochs=1, quantized_epochs=0)
    train_stripes(tmp_path / "state", settings=short, progress=lambda *told: seen.append(told))
    assert [told[:2] for told in seen] == [(1, 4), (2, 4), (3, 4), (4, 4)]
    assert set(seen[0][2]) == {"largest", "others", "smallest"}


def test_divergence_is_named_and_leaves_a_sound_checkpoint(tmp_path):
    wild = replace(SETTINGS, learning_rate=1e18, gradient_clip=1e30, warmup=0.2)
    with pytest.raises(TrainingDiverged, match=r"diverged at step \d+ of 24.*lower learning_rate"):
        train_stripes(tmp_path / "state", settings=wild)
    tensors, metadata = load_state(tmp_path / "state", fingerprint=stripes_space().fingerprint)
    assert 0 < int(metadata["step"]) < 24
    assert all(torch.isfinite(tensor).all() for name, tensor in tensors.items() if name != "losses")


def test_a_checkpoint_of_other_settings_is_refused(finished):
    other = replace(SETTINGS, learning_rate=0.05)
    with pytest.raises(CheckpointError, match=r"\"learning_rate\": 0\.05.*delete it"):
        train_stripes(finished[2], settings=other)


def test_an_unwritable_folder_is_found_before_any_work(tmp_path):
    with pytest.raises(CheckpointError, match="cannot write"):
        train_stripes(tmp_path / "none" / "state", progress=lambda *_: pytest.fail("worked"))


def test_more_samples_per_step_than_there_are_is_refused(tmp_path):
    supernet = Supernet(stripes_space(), seed=0)
    with pytest.raises(ValueError, match="batch_size = 100 is more than the 64"):
        train(
            supernet,
            Stripes.drawn(),
            replace(SETTINGS, batch_size=100),
            criterion=Classification(),
            state_path=tmp_path / "s",
        )


def step_of(supernet, settings=SETTINGS, methods=None):
    """The step of a training of `supernet`, on batches of eight."""
    data, plan = Stripes.drawn(), schedule(settings, 64)

    def batch(_):
        return data.batch(np.arange(8), np.random.default_rng(0))

    context = TrainingContext(supernet, settings, plan, Classification(0.1), batch)
    return TrainingStep(context, methods or Methods())


def stepped(supernet, subnets, *, distillation):
    """The inputs and labels of a batch, and the losses of a step in full precision on the batch."""
    methods = Methods(mix=constant)
    made = step_of(supernet, replace(SETTINGS, distillation=distillation), methods)
    batch = made.context.batch(0)
    return *batch, made.gradients(Moment(0, made.context.plan), batch, subnets)


def test_the_sandwich_step_is_the_sum_of_its_losses():
    supernet = Supernet(stripes_space(), seed=0)
    subnets = sandwich(supernet.space, np.random.default_rng(1), random=2)
    assert len({subnets.largest, *subnets.students}) == 4
    images, labels, losses = stepped(supernet, subnets, distillation=0.7)
    gradients = [p.grad for p in supernet.parameters() if p.grad is not None]

    supernet.zero_grad()
    largest = supernet(images, subnets.largest, quantize=False)
    teacher = largest.detach().softmax(1)
    label = cross_entropy(largest, labels, label_smoothing=0.1)
    others = []
    for genotype in (*subnets.random, subnets.smallest):
        student = supernet(images, genotype, quantize=False)
        divergence = kl_div(log_softmax(student, 1), teacher, reduction="batchmean")
        hard = cross_entropy(student, labels, label_smoothing=0.1)
        others.append(0.7 * divergence + 0.3 * hard)
    (label + sum(others)).backward()
    expected = [p.grad for p in supernet.parameters() if p.grad is not None]
    for one, other in zip(gradients, expected, strict=True):
        torch.testing.assert_close(one, other, rtol=1e-4, atol=1e-6)
    assert losses == pytest.approx([label.item(), *(o.item() for o in others)], rel=1e-4)


def test_every_subnet_learns_from_labels_by_default():
    """A student that agrees with a wrong teacher still has a gradient."""
    student, labels = torch.zeros(4, 3, requires_grad=True), torch.tensor([0, 1, 2, 0])
    share = TrainingSettings().distillation
    criterion = Classification(0.0)
    teacher = torch.zeros(4, 3)
    how = {"criterion": criterion, "divergence": task_distance, "distillation": share}
    student_loss(student, teacher, labels, **how).backward()
    assert student.grad is not None
    assert (student.grad.gather(1, labels[:, None]) < -0.01).all(), "towards the label"


def test_a_step_trains_equal_subnets_once():
    space = stripes_space()
    other = space.sample(np.random.default_rng(3))
    assert other not in (space.largest, space.smallest)
    drawn = (other, space.largest, other, space.smallest)
    assert Sandwich(space.largest, drawn, space.smallest).students == (other, space.smallest)


def test_the_largest_subnet_learns_alone_at_first():
    made = step_of(Supernet(stripes_space(), seed=0), replace(SETTINGS, largest_first=0.5))
    plan, batch = made.context.plan, made.context.batch(0)
    assert (plan.largest_steps, plan.float_steps, plan.total) == (6, 12, 24)
    told = []
    made.sampler.tell = lambda *heard: told.append(heard)
    for step in (0, 5, 6, 23):
        moment = Moment(step, plan)
        subnets = made.subnets(moment, batch, np.random.default_rng(step))
        assert subnets.largest == made.sampler.space.largest
        assert bool(subnets.students) == (step >= 6)
        made.told(moment, subnets, [])
    assert [moment.step for moment, *_ in told] == [6, 23], "a sampler hears of its own draws"
    without_float = schedule(replace(SETTINGS, float_epochs=0, largest_first=1.0), 64)
    assert without_float.largest_steps == 0


def test_channels_are_sorted_with_all_that_belongs_to_them():
    made = step_of(
        Supernet(stripes_space(), seed=0), methods=Methods(callbacks={"ema": ExponentialAverage})
    )
    state = TrainingState(made, samples=64)
    batch, moment = made.context.batch(0), Moment(0, made.context.plan)
    made.gradients(moment, batch, made.subnets(moment, batch, np.random.default_rng(0)))
    state.update(0.1)
    before = {name: tensor.clone() for name, tensor in state._tensors().items()}
    places = sorted_places(state.supernet)["stem", "weight"]
    assert (places.reshape(-1).diff() < 0).any(), "some channel changes its place"
    state.sort_channels()
    for held in ("supernet", "momentum", "callback.ema"):
        name = f"{held}.nodes.stem.tensors.weight"
        assert torch.equal(state._tensors()[name], before[name].reshape(-1)[places])


def test_subnets_that_differ_in_precision_only_are_one_in_full_precision():
    space = stripes_space().restrict(
        lambda made, option: "bits" in made.name or option == made.options[0]
    )
    assert space.size > 1
    settings = replace(SETTINGS, largest_first=0.0, random_subnets=5)
    made = step_of(Supernet(space, seed=0), settings)
    batch, plan = made.context.batch(0), made.context.plan
    drawn = [made.subnets(Moment(step, plan), batch, np.random.default_rng(1)) for step in (0, 23)]
    assert [bool(subnets.students) for subnets in drawn] == [False, True]


def test_a_space_of_one_network_trains_it_alone():
    space = stripes_space().restrict(lambda made, option: option == made.options[0])
    assert space.size == 1
    supernet = Supernet(space, seed=0)
    subnets = sandwich(space, np.random.default_rng(0), random=2)
    images, labels, losses = stepped(supernet, subnets, distillation=0.5)
    gradients = {n: p.grad for n, p in supernet.named_parameters() if p.grad is not None}
    supernet.zero_grad()
    label = cross_entropy(supernet(images, (), quantize=False), labels, label_smoothing=0.1)
    label.backward()
    for name, gradient in gradients.items():
        torch.testing.assert_close(gradient, supernet.get_parameter(name).grad)
    assert gradients
    assert losses == pytest.approx([label.item()])
    made = step_of(supernet, replace(SETTINGS, largest_first=0.0))
    for step in (0, 23):
        moment = Moment(step, made.context.plan)
        assert not made.subnets(moment, made.context.batch(0), np.random.default_rng(0)).students


def test_the_sandwich_holds_the_bounds_of_the_space():
    space = stripes_space()
    made = sandwich(space, np.random.default_rng(5), random=3)
    assert (made.largest, made.smallest) == (space.largest, space.smallest)
    assert made.random == sandwich(space, np.random.default_rng(5), random=3).random
    assert all(space.canonical(genotype) == genotype for genotype in made.random)


def test_only_weights_decay():
    supernet = Supernet(stripes_space(), seed=0)
    before = {name: p.detach().clone() + 0.0 for name, p in supernet.named_parameters()}
    for parameter in supernet.parameters():
        parameter.grad = torch.zeros_like(parameter)
    made = step_of(supernet, replace(SETTINGS, weight_decay=0.5))
    state = TrainingState(made, samples=64)
    state.update(0.1)
    for name, parameter in supernet.named_parameters():
        shrunk = not torch.equal(parameter, before[name])
        assert shrunk == name.endswith("tensors.weight"), name


def test_the_learning_rate_rises_and_falls_once():
    settings = TrainingSettings(
        float_epochs=6, quantized_epochs=4, batch_size=64, warmup=0.1, learning_rate=0.1
    )
    plan = schedule(settings, 1000)
    rates = [plan.learning_rate(step) for step in range(plan.total)]
    top = int(np.argmax(rates))
    assert (plan.total, plan.float_steps, top) == (150, 90, 15)
    assert rates[top] == 0.1
    assert rates[:top] == sorted(rates[:top])
    assert rates[top:] == sorted(rates[top:], reverse=True)
    assert 0 < rates[-1] < 1e-4


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("batch_size", 1),
        ("float_epochs", -1),
        ("learning_rate", 0.0),
        ("learning_rate", math.nan),
        ("gradient_clip", math.inf),
        ("momentum", 1.0),
        ("warmup", -0.1),
        ("weight_decay", -1e-4),
        ("distillation", -0.1),
        ("largest_first", 1.1),
        ("distillation", 1.5),
    ],
)
def test_settings_out_of_range_are_refused(setting, value):
    with pytest.raises(ValueError, match=f"{setting} must"):
        TrainingSettings(**{setting: value})


def test_settings_without_an_epoch_are_refused():
    with pytest.raises(ValueError, match="train for one at least"):
        TrainingSettings(float_epochs=0, quantized_epochs=0)


def test_checkpoints_name_their_settings(finished):
    _, metadata = load_state(finished[2], fingerprint=stripes_space().fingerprint)
    settings = json.loads(metadata["settings"])
    assert settings["samples"] == 64
    assert settings["batch_size"] == SETTINGS.batch_size
    assert "checkpoint_seconds" not in settings


@pytest.mark.gpu
def test_training_runs_on_a_gpu(tmp_path):
    supernet = Supernet(stripes_space(), seed=1)
    history = train(
        supernet,
        Stripes.drawn(),
        SETTINGS,
        criterion=Classification(),
        state_path=tmp_path / "state",
        device="cuda",
    )
    assert history.losses[-4:, 0].mean() < history.losses[:4, 0].mean()
