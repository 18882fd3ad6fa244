"""Networks by name, and weights from files; what does not fit is refused by one sentence."""

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from torch import nn

from nas.own.model import OwnModelError
from nas.own.sources import Named, load_weights, network_of
from nas.parts import PartError

SOURCE = """
from torch import nn

def build(width=4):
    return nn.Sequential(nn.Linear(3, width), nn.BatchNorm1d(width))

made = build()

def wrong():
    return 7

def failing():
    raise MemoryError("no room")
"""


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("own")
    (path / "own_sources_net.py").write_text(SOURCE)
    return path


def made(text, folder, *, weights=None, **options):
    return network_of(text, options=options, weights=weights, beside=folder)


def test_a_function_of_a_file_makes_the_network(folder):
    model = made("own_sources_net.py:build", folder, width=5)
    assert model[0].out_features == 5
    assert not model.training
    assert made("own_sources_net.py:made", folder)[0].out_features == 4


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("own_sources_net.py", "names no network; give FILE.py:FUNCTION"),
        ("own_sources_net.py:", "names no network"),
        ("own_sources_net.py:bild", "no function 'bild'; there are build"),
        ("own_sources_net.py:wrong", "must give a torch module, given int"),
        ("own_sources_net.py:failing", "made no network: MemoryError: no room"),
    ],
)
def test_what_makes_no_network_is_refused(folder, text, told):
    with pytest.raises(OwnModelError, match=told):
        made(text, folder)


def test_files_and_options_that_are_not_there_are_refused(folder):
    with pytest.raises(PartError, match="no such file"):
        made("absent.py:build", folder)
    with pytest.raises(OwnModelError, match=r"TypeError.*depth"):
        made("own_sources_net.py:build", folder, depth=3)


def test_only_names_of_packages_run_no_code_of_the_user():
    assert Named.read("timm:mobilenetv3_small_100").package is not None
    assert Named.read("mine.py:build").package is None


def saved(tensors, path):
    if path.suffix == ".npz":
        np.savez(path, **{name: tensor.numpy() for name, tensor in tensors.items()})
    elif path.suffix == ".safetensors":
        save_file(tensors, path)
    else:
        torch.save(tensors, path)
    return path


@pytest.mark.parametrize("name", ["w.safetensors", "w.npz", "w.pt"])
@pytest.mark.parametrize("head", ["", "module."])
def test_weights_of_every_kind_of_file_are_put_in(tmp_path, name, head):
    source, model = nn.Linear(3, 2), nn.Linear(3, 2)
    held = {f"{head}{key}": tensor for key, tensor in source.state_dict().items()}
    load_weights(model, saved(held, tmp_path / name))
    assert torch.equal(model.weight, source.weight)


def test_weights_inside_a_state_are_found(tmp_path):
    source, model = nn.Linear(3, 2), nn.Linear(3, 2)
    torch.save({"state_dict": source.state_dict(), "epoch": 3}, tmp_path / "w.pt")
    load_weights(model, tmp_path / "w.pt")
    assert torch.equal(model.bias, source.bias)


def test_weights_that_do_not_fit_are_refused_whole(tmp_path):
    model = nn.Linear(3, 2)
    before = model.weight.clone()
    path = saved({"weight": torch.zeros(2, 4), "scale": torch.ones(1)}, tmp_path / "w.pt")
    with pytest.raises(
        OwnModelError, match=r"missing: bias.*unknown: scale.*\(2, 4\) for \(2, 3\)"
    ):
        load_weights(model, path)
    assert torch.equal(model.weight, before)


def test_files_that_hold_no_tensors_are_refused(tmp_path):
    (tmp_path / "text.pt").write_text("no tensors")
    (tmp_path / "text.safetensors").write_text("no tensors")
    torch.save({"model": nn.Linear(1, 1)}, tmp_path / "whole.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    for name in ("text.pt", "text.safetensors", "whole.pt", "list.pt", "absent.pt"):
        with pytest.raises(OwnModelError, match=name):
            load_weights(nn.Linear(1, 1), tmp_path / name)
