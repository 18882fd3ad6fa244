"""Training on two workers of a Ray cluster: the weights of one process, also after a death."""

from __future__ import annotations

import shutil
import textwrap
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file

from nas.evaluation.crew import ClusterError
from nas.recipe.recipe import ComputeSection
from nas.run.steps.train_workers import Mailbox, error_of
from search_spaces.space import SearchSpace
from supernets.checkpoint import load_state
from supernets.training.train import TrainingDiverged
from tests.nas.local_ray import local_ray
from tests.nas.runs import TINY, assert_refused, nas, settings

# A part of the user, whose second process dies in the first training of two processes.
MORTAL = """
import os
import signal
from pathlib import Path

from nas.parts import register
from supernets.training.callbacks import Callback


@register("callback", "mortal")
class Mortal(Callback):
    def before_step(self, moment):
        mark = Path({mark!r})
        if self.context.ranks.rank == 1 and moment.step == 4 and not mark.exists():
            mark.touch()
            os.kill(os.getpid(), signal.SIGKILL)
"""
TWO = tuple(settings("compute.train_workers=2"))


@pytest.fixture(scope="module")
def ray():
    """A cluster whose controller looks at workers often, as seconds count here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
        with local_ray(2) as ray:
            pytest.importorskip("ray.train", exc_type=ImportError)
            yield ray


@pytest.fixture
def recipe(tmp_path):
    """A training of eight steps in full precision, where rounding stays as small as it is."""
    (tmp_path / "mortal.py").write_text(textwrap.dedent(MORTAL.format(mark=str(tmp_path / "mark"))))
    shown = 'float_epochs = 2\nschedule = "cosine"\ncallbacks = ["mortal"]'
    content = TINY.replace("float_epochs = 3", shown)
    content = content.replace("quantized_epochs = 1", "quantized_epochs = 0")
    path = tmp_path / "tiny.toml"
    path.write_text(f'python = ["./mortal.py"]\n{content}')
    return path


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.filterwarnings("ignore:.*is deprecated:DeprecationWarning")  # of Ray, by Ray Train
def test_two_workers_train_the_weights_of_one_process_also_after_a_death(ray, recipe, tmp_path):
    here, there = tmp_path / "here", tmp_path / "there"
    assert nas("train", recipe, "--out", here).code == 0
    died = nas("train", recipe, "--out", there, *TWO)
    assert_refused(died, "training on workers has ended early", "worker 1", "--resume")
    left = load_state(there / "training.safetensors", fingerprint=fingerprint(there))[1]
    assert left["step"] == "4", "the steps that both workers took"
    resumed = tmp_path / "resumed"
    shutil.copytree(there, resumed)

    assert nas("train", recipe, "--out", there, *TWO).code == 0
    assert nas("train", recipe, "--out", resumed).code == 0
    expected = load_file(here / "supernet.safetensors")
    for folder in (there, resumed):
        found = load_file(folder / "supernet.safetensors")
        assert found.keys() == expected.keys()
        for name in (name for name in expected if ".tensors." in name):
            torch.testing.assert_close(found[name], expected[name], rtol=1e-3, atol=1e-4)
        assert not (folder / "training.safetensors").exists()


def fingerprint(folder: Path) -> str:
    return SearchSpace.from_json((folder / "space.json").read_text()).fingerprint


def test_the_mailbox_gives_everything_once():
    mailbox = Mailbox(b"first")
    assert mailbox.take() == (None, None, [])
    assert mailbox.checkpoint() == b"first"
    mailbox.put((1, 8, {}), b"second")
    mailbox.put((2, 8, {}), None)
    mailbox.say("went back")
    assert mailbox.take() == ((2, 8, {}), b"second", ["went back"])
    assert mailbox.take() == (None, None, [])
    assert mailbox.checkpoint() == b"second", "for workers that are started again"


def test_the_error_of_a_training_is_raised_as_it_is():
    diverged = TrainingDiverged("training diverged at step 3")
    failed = SimpleNamespace(worker_failures={0: RuntimeError("connection closed"), 1: diverged})
    assert error_of(failed) is diverged


def test_other_errors_of_workers_are_told_in_one_sentence():
    failed = SimpleNamespace(worker_failures={1: OSError("died\nat once"), 0: ValueError("closed")})
    told = error_of(failed)
    assert isinstance(told, ClusterError)
    assert "ended early, worker 0: ValueError: closed; worker 1: OSError: died;" in (str(told))


def test_an_error_of_the_cluster_itself_is_told():
    assert "ended early, RuntimeError: no controller;" in str(
        error_of(RuntimeError("no controller"))
    )


def test_a_worker_that_trains_has_a_whole_gpu_or_none():
    shared = ComputeSection(train_workers=2, gpus_per_worker=0.25, cpus_per_worker=2)
    assert shared.training_resources == {"CPU": 2, "GPU": 1}
    assert ComputeSection(train_workers=2).training_resources == {"CPU": 1, "GPU": 0}


@pytest.mark.parametrize(
    ("workers", "parts"),
    [
        ("-1", ("compute.train_workers", "greater than or equal to 0")),
        ("33", ("33 processes cannot share batches of batch_size = 32 rows",)),
    ],
)
def test_numbers_of_workers_that_make_no_sense_are_refused_before_work(tmp_path, workers, parts):
    pytest.importorskip("ray.train", exc_type=ImportError)
    path = tmp_path / "tiny.toml"
    path.write_text(TINY)
    outcome = nas(
        "train", path, "--out", tmp_path / "run", *settings(f"compute.train_workers={workers}")
    )
    assert_refused(outcome, *parts)
    assert not (tmp_path / "run" / "training.safetensors").exists()
