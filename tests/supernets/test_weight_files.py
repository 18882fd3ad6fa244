"""Files of float weights are read without pickle, checked against the space, or refused."""

from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from search_spaces.ops import Input
from search_spaces.policy import Policy
from search_spaces.residual import residual
from supernets.checkpoint import save
from supernets.supernet import Supernet, weights_of
from supernets.weight_files import read_weights
from supernets.weights import WeightsError
from tests.supernets.stripes import stripes_space


@pytest.fixture(scope="module")
def space():
    return stripes_space()


@pytest.fixture(scope="module")
def weights(space):
    return {name: t.detach().clone() for name, t in weights_of(Supernet(space, seed=5)).items()}


def assert_same(found, weights):
    assert found.keys() == weights.keys()
    assert all(torch.equal(found[name], weights[name]) for name in weights)


def test_tensors_by_name_are_read_from_safetensors_and_from_numpy(space, weights, tmp_path):
    save_file(weights, tmp_path / "w.safetensors")
    np.savez(tmp_path / "w.npz", **{name: t.numpy() for name, t in weights.items()})
    for file in ("w.safetensors", "w.npz"):
        assert_same(read_weights(tmp_path / file, space), weights)


def other(*, kernels=(3, 5), bits=(3,)):
    return residual(
        inputs=(Input("image", (1, 6, 6)),),
        output=(3,),
        widths=[(4, 6), (4, 8)],
        depths=[(1, 2)],
        kernels=kernels,
        policy=Policy(weight_bits=bits, activation_bits=(8,)),
    )


def test_a_supernet_with_other_precisions_is_read_without_its_steps(space, weights, tmp_path):
    made = Supernet(other(), seed=5)
    save(made, tmp_path / "supernet.safetensors")
    assert_same(read_weights(tmp_path / "supernet.safetensors", space), weights)


def test_a_supernet_with_other_architectures_is_refused(space, tmp_path):
    save(Supernet(other(kernels=(1, 3, 5)), seed=5), tmp_path / "supernet.safetensors")
    with pytest.raises(
        WeightsError, match=r"architectures differ .* nothing but precisions differ"
    ):
        read_weights(tmp_path / "supernet.safetensors", space)


def test_a_damaged_supernet_is_refused(space, tmp_path):
    path = tmp_path / "supernet.safetensors"
    save(Supernet(other(), seed=5), path)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read: .* is damaged"):
        read_weights(path, space)


def test_tensors_of_another_network_are_refused(space, weights, tmp_path):
    save_file({**weights, "fc.weight": torch.ones(2)}, tmp_path / "w.safetensors")
    with pytest.raises(WeightsError, match=r"w.safetensors: .* unknown: fc.weight; give every"):
        read_weights(tmp_path / "w.safetensors", space)


def test_pickled_objects_are_not_read(space, weights, tmp_path):
    held = {name: t.numpy() for name, t in weights.items()}
    held["head.bias"] = np.array([object()], dtype=object)
    np.savez(tmp_path / "w.npz", **held)
    with pytest.raises(WeightsError, match=r"cannot be read .*allow_pickle=False"):
        read_weights(tmp_path / "w.npz", space)


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 no archive", b"\x80\x04N.", b"{}" * 50])
def test_other_files_are_refused_with_what_to_give(space, content, tmp_path):
    (tmp_path / "w.pt").write_bytes(content)
    with pytest.raises(WeightsError, match=r"cannot be read .* give a .safetensors or .npz file"):
        read_weights(tmp_path / "w.pt", space)


def test_a_file_that_torch_saved_is_refused(space, weights, tmp_path):
    torch.save(weights, tmp_path / "w.pt")  # a zip archive too, with pickles
    with pytest.raises(WeightsError, match=r"cannot be read|do not fit"):
        read_weights(tmp_path / "w.pt", space)


def test_a_missing_file_is_named(space):
    with pytest.raises(WeightsError, match=r"gone.npz cannot be read"):
        read_weights(Path("gone.npz"), space)
