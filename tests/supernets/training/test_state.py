"""A training state whose header is off is refused with the file, the fault and the remedy."""

from __future__ import annotations

import copy
import json
import struct
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from nas.tasks.criteria import Classification
from supernets.checkpoint import CheckpointError, load, save, steps_done
from supernets.supernet import Supernet
from supernets.training.context import Batch, TrainingContext
from supernets.training.methods import Methods
from supernets.training.schedule import schedule
from supernets.training.state import TrainingState
from supernets.training.step import TrainingStep
from tests.supernets.stripes import SETTINGS, stripes_space

SPACE = stripes_space()
Header = dict[str, Any]


def fresh() -> TrainingState:
    plan = schedule(SETTINGS, 64)
    context = TrainingContext(Supernet(SPACE, seed=1), SETTINGS, plan, Classification(), _none)
    return TrainingState(TrainingStep(context, Methods()), samples=64)


def _none(step: int) -> Batch:
    raise AssertionError(f"no batch is read, asked for that of step {step}")


@pytest.fixture(scope="module")
def content(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    state = fresh()
    for parameter in state.supernet.parameters():
        parameter.grad = torch.ones_like(parameter)
    for step in range(5):
        state.update(0.1)
        state.record([float(step)] * 3)
    path = tmp_path_factory.mktemp("state") / "training.safetensors"
    state.save(path)
    again = fresh()
    again.load(path)
    assert again.step == 5
    return path.read_bytes()


def test_the_steps_done_are_read_without_the_tensors(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "training.safetensors"
    assert steps_done(path) == 0
    path.write_bytes(content)
    assert steps_done(path) == 5
    path.write_bytes(content[:100])
    assert steps_done(path) == 0


def _a_weight(header: Header) -> Header:
    return next(e for n, e in header.items() if n.endswith("weight") and len(e["shape"]) == 4)


CHANGES: dict[str, Callable[[Header], object]] = {
    "no metadata": lambda h: h.pop("__metadata__"),
    "no step": lambda h: h["__metadata__"].pop("step"),
    "no fingerprint": lambda h: h["__metadata__"].pop("fingerprint"),
    "no digest": lambda h: h["__metadata__"].pop("digest"),
    "no settings": lambda h: h["__metadata__"].pop("settings"),
    "negative step": lambda h: h["__metadata__"].update(step="-1"),
    "step of no number": lambda h: h["__metadata__"].update(step="nan"),
    "long step": lambda h: h["__metadata__"].update(step="9" * 5000),
    "step ahead": lambda h: h["__metadata__"].update(step="6"),
    "step behind": lambda h: h["__metadata__"].update(step="4"),
    "shape turned": lambda h: _a_weight(h)["shape"].reverse(),
    "integers": lambda h: _a_weight(h).update(dtype="I32"),
    "unknown type": lambda h: _a_weight(h).update(dtype="F33"),
    "losses in a row": lambda h: h["losses"].update(shape=[72]),
    "no losses": lambda h: h.pop("losses"),
    "no good state": lambda h: h.pop(next(n for n in h if n.startswith("good.supernet."))),
    "empty extra": lambda h: h.update(
        {"momentum.x": {"dtype": "F32", "shape": [0], "data_offsets": [0, 0]}}
    ),
}


@pytest.mark.parametrize("change", CHANGES.values(), ids=CHANGES)
def test_a_header_that_is_off_is_refused(
    content: bytes, tmp_path: Path, change: Callable[[Header], object]
) -> None:
    (size,) = struct.unpack("<Q", content[:8])
    header = copy.deepcopy(json.loads(content[8 : 8 + size]))
    change(header)
    text = json.dumps(header).encode()
    path = tmp_path / "training.safetensors"
    path.write_bytes(struct.pack("<Q", len(text)) + text + content[8 + size :])
    state = fresh()
    before = {name: tensor.clone() for name, tensor in state.supernet.state_dict().items()}
    with pytest.raises(CheckpointError, match=r"training\.safetensors.*delete it|use the recipe"):
        state.load(path)
    assert state.step == 0
    assert all(torch.equal(t, before[n]) for n, t in state.supernet.state_dict().items())


def test_weights_of_another_type_are_no_supernet(tmp_path: Path) -> None:
    path = tmp_path / "supernet.safetensors"
    save(Supernet(SPACE, seed=1), path)
    content = path.read_bytes()
    (size,) = struct.unpack("<Q", content[:8])
    path.write_bytes(
        content[:8] + content[8 : 8 + size].replace(b"F32", b"I32") + content[8 + size :]
    )
    with pytest.raises(CheckpointError, match=r"tensors have another form, first .*int32.*float32"):
        load(SPACE, path)
