"""Recurrent layers of a user's network are opaque calls: run, kept in files and exported."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from nas.evaluation.rewrites import post_training
from nas.export import form_of
from search_spaces.opening import Opening, opened
from search_spaces.ops import Opaque, Read
from search_spaces.space import SearchSpace
from supernets.elastic import compute
from supernets.elastic.opaque import OpaqueError
from supernets.tracing import trace

WORDS = torch.randn(4, 2, 6, generator=torch.Generator().manual_seed(0))


class Recurrent(nn.Module):
    """Layers with the batch first and second, a cell, two directions and several results."""

    def __init__(self) -> None:
        super().__init__()
        self.before = nn.Linear(6, 6)
        self.long = nn.LSTM(6, 4, bidirectional=True, batch_first=True)
        self.gated = nn.GRU(8, 5)
        self.plain = nn.RNN(5, 4, nonlinearity="relu", batch_first=True)
        self.cell = nn.LSTMCell(6, 3)
        self.head = nn.Linear(4 + 5 + 4 + 3, 2)

    def forward(self, x: Tensor) -> Tensor:
        x = self.before(x)
        words, (last, _) = self.long(x)
        steps, _ = self.gated(words.transpose(0, 1))
        found, _ = self.plain(steps.transpose(0, 1))
        hidden, _ = self.cell(x[:, 0])
        return self.head(torch.cat([found[:, -1], steps[-1], last[0], hidden], 1))


@pytest.fixture(scope="module")
def model():
    torch.manual_seed(0)
    return Recurrent().eval()


@pytest.fixture(scope="module")
def traced(model):
    return trace(model, WORDS)


def test_recurrent_layers_are_opaque_and_compute_the_same(model, traced):
    kinds = {n.op.target.split(".")[1] for n in traced.graph.nodes.values() if type(n.op) is Opaque}
    assert {"lstm", "gru", "rnn_relu"} <= kinds
    more = torch.cat([WORDS, WORDS.flip(0)])
    with torch.no_grad():
        torch.testing.assert_close(traced.module()(more), model(more))
    space = SearchSpace(traced.graph)
    assert SearchSpace.from_json(space.to_json()) == space


@pytest.mark.parametrize(
    "name", ["net.pt2", "net.torch", pytest.param("net.onnx", marks=pytest.mark.slow)]
)
def test_every_form_holds_recurrent_layers_beside_integers(traced, tmp_path, name):
    space = SearchSpace(opened(traced.graph, Opening(weights=(8,), activations=(8,))))
    made = post_training(
        space, traced.tensors, [WORDS], rewrites=("ranges", "nearest", "round-biases")
    )
    deployed, form = made(space.smallest), form_of(Path(name))
    form.write(deployed, tmp_path / name)
    [given] = (op.name for op in deployed.graph.inputs.values())
    found = form.open(tmp_path / name, deployed.graph).run({given: WORDS})
    with torch.no_grad():
        wanted = deployed.module()(WORDS)
    torch.testing.assert_close(torch.as_tensor(found), wanted, rtol=1e-4, atol=1e-5)


def test_a_recurrent_layer_that_would_draw_dropout_is_refused():
    given = (Read(0), (), (), True, 1, 0.5, True, False, True)
    op = Opaque(target="aten.lstm.input", arguments=given, seen=((2, 6),), shape=(2, 4), result=0)
    with pytest.raises(OpaqueError, match="draws random numbers"):
        compute(op, {}, WORDS)
