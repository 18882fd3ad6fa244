"""Whatever touches weights keeps to one device: on a pretended one, and by hand on a GPU."""

import copy
import tomllib

import numpy as np
import pytest
import torch

from nas.evaluation.evaluation import flat
from nas.evaluation.supernet_evaluator import SupernetEvaluator
from nas.export import export_onnx, verify
from nas.parts import Parts
from nas.recipe.recipe import validate_recipe
from nas.run import probing
from nas.run.folder import RunFolder
from nas.run.plan import prepare
from nas.tasks.criteria import Classification
from supernets.deploy import Deployment, on_device
from supernets.exchange import exchanged
from supernets.supernet import Supernet
from supernets.training.train import train
from tests.nas.runs import TINY
from tests.pretended_device import DEVICE, PretendedDevice
from tests.supernets.stripes import SETTINGS, Stripes, stripes_space


@pytest.fixture(autouse=True)
def _one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)  # networks this small only wait for more
    yield
    torch.set_num_threads(threads)


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
    criterion = Classification()
    history = train(
        supernet, data, SETTINGS, criterion=criterion, state_path=path / "state", device=where
    )
    supernet.cpu()
    before = copy.deepcopy(supernet.state_dict())
    genotype = supernet.space.largest
    deployment = Deployment(supernet, [data.images[:32]], device=where)
    batches = [({"image": data.images}, data.labels)]
    evaluator = SupernetEvaluator(deployment, batches, criterion=criterion, seed=0)
    (evaluation,) = flat(evaluator([genotype]))
    loss = torch.nn.CrossEntropyLoss()
    there = on_device(supernet, torch.device(where))
    images, labels = data.images[:8].to(where), data.labels[:8].to(where)
    exchanged(
        there, images, lambda logits: loss(logits, labels), genotype=genotype, others=[genotype]
    )
    deployed = deployment(genotype)
    export_onnx(deployed, path / "subnet.onnx")
    checked = verify(path / "subnet.onnx", deployed, data.images, data.labels, criterion=criterion)
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


def probe(folder, where):
    """Probe an untrained supernet on `where`; what the caller owns stays as it was."""
    content = tomllib.loads(TINY) | {"name": "tiny"}
    content["compute"]["device"] = where
    content["search"]["proxies"] = 1
    folder.mkdir()
    plan = prepare(validate_recipe(content), RunFolder(folder))
    supernet = Supernet(plan.space, seed=1)
    owned = {**supernet.state_dict(), "images": plan.task.train.inputs["image"]}
    before = copy.deepcopy(owned)
    found = probing.probed(plan, supernet)
    assert all(torch.equal(owned[name], before[name]) for name in before)
    assert all(tensor.device.type == "cpu" for tensor in owned.values())
    assert supernet.training
    return found


def test_probing_keeps_to_one_device(device, tmp_path, monkeypatch):
    """Proxies and sensitivities are those of the CPU, since what is pretended computes there."""
    seen, of_module = [], probing.scored

    def scored(module, batch, loss, **options):
        inputs, targets = batch
        lie = (*module.parameters(), *module.buffers(), *inputs.values(), targets)
        seen.append({tensor.device.type for tensor in lie})
        return of_module(module, batch, loss, **options)

    monkeypatch.setattr(probing, "scored", scored)
    monkeypatch.setattr(probing, "proxies_of", lambda _: [*Parts("proxy").values()])
    monkeypatch.setattr("torch.cuda.device_count", lambda: 1)
    expected = probe(tmp_path / "here", "cpu")
    found = probe(tmp_path / "there", "cuda:0")
    half = len(seen) // 2
    assert seen == [*half * [{"cpu"}], *half * [{"cuda"}]]
    assert found.scores.keys() == expected.scores.keys()
    for name, scores in expected.scores.items():
        np.testing.assert_array_equal(found.scores[name], scores)
    assert found.sensitivity == expected.sensitivity


@pytest.mark.gpu
def test_a_run_keeps_to_a_real_device(tmp_path):
    history, evaluation = run(tmp_path, "cuda:0")
    assert np.isfinite(history.losses).all()
    assert evaluation.where.endswith("cuda:0")
