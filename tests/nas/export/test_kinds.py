"""Networks of every kind from shared weights to a file: groups, tokens, joined branches."""

from __future__ import annotations

from functools import cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from nas.export import FORMS, ONNX_FUSION, export_onnx, onnx_bytes, verify
from nas.export.stand_in import stand_in
from nas.parts import Parts
from nas.targets import load_target
from nas.tasks.criteria import Classification
from predictors.proxies import score
from search_spaces.costs import SpaceKernels
from search_spaces.policy import Policy
from search_spaces.quant import PerTensor
from search_spaces.space import Genotype, SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.exchange import exchanged
from supernets.extract import detached, extract
from supernets.supernet import Supernet
from supernets.training.train import TrainingSettings, train
from tests.nas.export.kinds import KINDS, exact_logits

IMAGES = torch.randn(96, 1, 8, 8, generator=torch.Generator().manual_seed(0))
POLICIES = {
    "8 bits": Policy(weight_bits=(8,), activation_bits=(8,)),
    "mixed": Policy(
        weight_bits=(4, 8),
        activation_bits=(4, 8),
        weight_granularities=(PerTensor(),),
        activation_symmetries=(True,),
    ),
    "weights only": Policy(weight_bits=(4,), activation_bits=(None,)),
    "floats": Policy(weight_bits=(None,), activation_bits=(None,), edge_bits=None),
}


class Blobs:
    """Images whose class is where they are bright."""

    def __init__(self) -> None:
        self.labels = torch.arange(64) % 4
        bright = torch.zeros(64, 1, 8, 8)
        for number, label in enumerate(self.labels.tolist()):
            bright[number, 0, 4 * (label // 2) :, 4 * (label % 2) :] = 1
        self.images = bright + 0.2 * torch.randn(
            bright.shape, generator=torch.Generator().manual_seed(2)
        )

    def __len__(self) -> int:
        return len(self.labels)

    def batch(self, rows, rng):
        return {"image": self.images[rows]}, self.labels[rows]


@cache
def supernet(kind: str, policy: str) -> Supernet:
    """Three steps of training in full precision, then steps set from images."""
    torch.set_num_threads(1)
    net = Supernet(KINDS[kind](POLICIES[policy]), seed=0)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.02)
    for genotype in (net.space.largest, net.space.smallest, net.space.largest):
        optimizer.zero_grad()
        net(IMAGES, genotype, quantize=False).square().mean().backward()
        optimizer.step()
    initialise_steps(net, [IMAGES])
    return net


def ends(space: SearchSpace) -> tuple[Genotype, Genotype]:
    return space.largest, space.smallest


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("kind", KINDS)
def test_an_extracted_subnet_is_that_of_the_supernet(kind: str, policy: str) -> None:
    net = supernet(kind, policy)
    for genotype in ends(net.space):
        with torch.no_grad():
            apart = detached(net, genotype).module.train()(IMAGES)
            assert torch.equal(apart, net(IMAGES, genotype))


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("form", ["onnx", "torch", "torch-export"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_form_gives_the_answers_of_the_network(
    kind: str, form: str, policy: str, tmp_path: Path
) -> None:
    net = supernet(kind, policy)
    for genotype in ends(net.space):
        deployed = deploy(extract(net, genotype, [IMAGES]))
        with torch.no_grad():
            answers = deployed.module()(IMAGES)
        path = tmp_path / f"{sum(genotype)}{FORMS[form].suffix}"
        FORMS[form].write(deployed, path)
        opened = FORMS[form].open(path, deployed.graph)
        found = exact_logits(path, IMAGES) if form == "onnx" else opened.run({"image": IMAGES})
        # A tie in a rounding may fall the other way; torch is the network itself.
        close = np.isclose(found, answers.numpy(), rtol=1e-4, atol=1e-4).all(1)
        assert close.mean() >= (0.9 if form == "onnx" else 1.0)
        checked = verify(path, deployed, IMAGES, answers.argmax(1), criterion=Classification())
        assert checked.agreement >= 98


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_learns(kind: str, tmp_path: Path) -> None:
    data = Blobs()
    settings = TrainingSettings(
        float_epochs=12, quantized_epochs=4, batch_size=16, random_subnets=1, checkpoint_seconds=60
    )
    net = Supernet(KINDS[kind](POLICIES["8 bits"]), seed=1)
    state = tmp_path / "state.safetensors"
    train(net, data, settings, criterion=Classification(), state_path=state)
    for genotype in ends(net.space):
        module = deploy(extract(net, genotype, [data.images])).module()
        with torch.no_grad():
            assert float((module(data.images).argmax(1) == data.labels).float().mean()) > 0.9


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_is_priced(kind: str) -> None:
    space = KINDS[kind](POLICIES["8 bits"])
    rows = np.array([space.smallest, space.largest])
    for name in ("edge-npu", "datacentre-gpu"):
        latency = load_target(name).compile(space)["latency_ms"](rows)
        assert 0 < latency[0] < latency[1] < np.inf


@pytest.mark.parametrize("policy", ["8 bits", "floats"])
@pytest.mark.parametrize("kind", KINDS)
def test_file_sizes_are_foretold(kind: str, policy: str, tmp_path: Path) -> None:
    space = KINDS[kind](POLICIES[policy])
    foretold = SpaceKernels(space, ONNX_FUSION).compile(onnx_bytes)
    for genotype in ends(space):
        report = export_onnx(stand_in(space.decode(genotype)), tmp_path / "net.onnx")
        assert foretold(np.array([genotype]))[0] == pytest.approx(report.file_bytes, rel=0.2)


@pytest.mark.parametrize("kind", KINDS)
def test_proxies_score_every_kind(kind: str) -> None:
    net = supernet(kind, "floats")
    module = extract(net, net.space.largest, [IMAGES], quantize=False).module
    batch = IMAGES[:16], torch.arange(16) % 10
    found = score(module, batch, F.cross_entropy, proxies=[*Parts("proxy").values()])
    assert found.keys() >= {"params", "macs", "snip", "synflow", "naswot", "jacob_cov"}
    assert {name for name, value in found.items() if not np.isfinite(value)} <= {"sqnr"}


@pytest.mark.parametrize("kind", KINDS)
def test_what_other_picks_would_do_is_estimated(kind: str) -> None:
    net = supernet(kind, "8 bits")
    space = net.space
    others = [space.smallest, *(space.sample(np.random.default_rng(s)) for s in range(4))]
    loss, changes = exchanged(
        net, IMAGES[:8], lambda y: y.square().sum(), genotype=space.largest, others=others
    )
    assert loss > 0
    assert np.isfinite(changes).all()
    assert changes[0] != 0
    _, none = exchanged(
        net, IMAGES[:8], lambda y: y.sum(), genotype=space.largest, others=[space.largest]
    )
    assert none.tolist() == [0.0]
