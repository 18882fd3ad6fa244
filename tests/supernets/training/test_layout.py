"""The layout of batches in memory, and the memory that steps leave for the next."""

import resource
import sys

import pytest
import torch

from nas.tasks.criteria import Classification
from supernets.inputs import channels_last
from supernets.supernet import Supernet
from supernets.training.freed_memory import keep_freed_memory
from supernets.training.methods import Methods
from supernets.training.samplers import UniformSandwich
from supernets.training.schedule import TrainingSettings
from supernets.training.train import train
from tests.supernets.stripes import Stripes, stripes_space

PAGE = 4096


def test_only_images_change_their_layout_and_no_value_changes():
    given = {"image": torch.randn(2, 3, 4, 5), "tokens": torch.arange(12).reshape(2, 6)}
    found = channels_last(given)
    assert found["image"].stride() == (60, 1, 15, 3)
    assert torch.equal(found["image"], given["image"])
    assert found["tokens"] is given["tokens"]


def test_a_training_on_a_cpu_has_channels_last_and_parameters_as_ever(tmp_path):
    seen = []

    class Spy(UniformSandwich):
        def draw(self, moment, batch, rng):
            seen.append(batch[0]["image"].is_contiguous(memory_format=torch.channels_last))
            return super().draw(moment, batch, rng)

    supernet = Supernet(stripes_space(), seed=1)
    strides = {name: p.stride() for name, p in supernet.named_parameters()}
    settings = TrainingSettings(float_epochs=1, quantized_epochs=1, batch_size=16)
    train(
        supernet,
        Stripes.drawn(32),
        settings,
        criterion=Classification(),
        state_path=tmp_path / "state",
        methods=Methods(sampler=Spy),
    )
    assert seen
    assert all(seen)
    assert {name: p.stride() for name, p in supernet.named_parameters()} == strides


@pytest.mark.skipif(sys.platform != "linux", reason="glibc only")
def test_memory_that_was_freed_is_used_again():
    pages = 40 * 2**20 // PAGE

    def faults():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
        for _ in range(4):
            torch.ones(pages * PAGE // 4)
        return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

    keep_freed_memory()
    faults()
    assert faults() < pages
