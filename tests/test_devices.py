"""Whatever touches weights keeps to one device: on a pretended one, and by hand on a GPU."""

import copy

import numpy as np
import pytest
import torch

from nas.evaluation.evaluation import flat
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.export import export_onnx, verify
from supernets.deploy import Deployment, on_device
from supernets.exchange import exchanged
from supernets.supernet import Supernet
from supernets.train import train
from tests.pretended_device import DEVICE, PretendedDevice
from tests.supernets.training import SETTINGS, Stripes, stripes_space


@pytest.fixture
def device():
    with PretendedDevice() as made:
        yield made


def test_the_pretended_device_refuses_what_a_real_one_refuses(device):
    here, there = torch.ones(3), torch.ones(3).to(DEVICE)
    assert (here.device.type, there.device.type) == ("cpu", "cuda")
    assert device.holds(there[1:] * 2)
    with pytest.raises(RuntimeError, match="two devices"):
        here + there
    with pytest.raises(TypeError, match="cpu"):
        there.numpy()
    assert not device.holds(there.cpu())
    assert device.holds(torch.zeros(2, device=DEVICE))
    assert torch.equal(there.cpu(), here)


def run(path, where):
    """Train, deploy, measure, follow gradients and export on `where`; the caller's stays his."""
    data = Stripes.drawn()
    supernet = Supernet(stripes_space(), seed=1)
    history = train(supernet, data, SETTINGS, state_path=path / "state", device=where)
    supernet.cpu()
    before = copy.deepcopy(supernet.state_dict())
    genotype = supernet.space.largest
    deployment = Deployment(supernet, [data.images[:32]], device=where)
    evaluator = SupernetEvaluator(deployment, [(data.images, data.labels)], seed=0)
    (evaluation,) = flat(evaluator([genotype]))
    loss = torch.nn.CrossEntropyLoss()
    there = on_device(supernet, torch.device(where))
    images, labels = data.images[:8].to(where), data.labels[:8].to(where)
    exchanged(
        there, images, lambda logits: loss(logits, labels), genotype=genotype, others=[genotype]
    )
    deployed = deployment(genotype)
    export_onnx(deployed, path / "subnet.onnx")
    checked = verify(path / "subnet.onnx", deployed, data.images, data.labels)
    deployment.full_precision(genotype)(data.images[:4].to(where))
    assert checked.agreement > 90
    after = supernet.state_dict()
    assert all(torch.equal(after[name], before[name]) for name in before)
    assert all(tensor.device.type == "cpu" for tensor in after.values())
    return history, evaluation


def test_a_run_keeps_to_one_device(device, tmp_path):
    history, evaluation = run(tmp_path, DEVICE)
    assert np.isfinite(history.losses).all()
    assert evaluation.where.endswith("cuda:0")


@pytest.mark.gpu
def test_a_run_keeps_to_a_real_device(tmp_path):
    history, evaluation = run(tmp_path, "cuda:0")
    assert np.isfinite(history.losses).all()
    assert evaluation.where.endswith("cuda:0")
