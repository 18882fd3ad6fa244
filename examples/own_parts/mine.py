"""One part of each kind, for the recipe beside this file; `nas run mine.toml` uses them all."""

from __future__ import annotations

import gzip
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from sklearn.linear_model import BayesianRidge
from torch import nn

from nas.export.forms.onnx import OnnxForm
from nas.export.onnx_operators import write
from nas.facts.usage import Port, Usage
from nas.files.durable import write_atomic
from nas.parts import Parts, register
from nas.problem.front import nondominated
from nas.search.points import points
from nas.search.polish import mutants
from nas.search.proposer import Proposer
from nas.tasks.criteria import Regression
from nas.tasks.task import Split, Task, TrainSplit
from predictors.features import OneHot, checked
from predictors.proxies.proxy import Proxy, Value
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import Input, Linear, Op
from search_spaces.options import Sizes
from search_spaces.policy import Policy
from search_spaces.quant import Quant
from search_spaces.space import SearchSpace
from supernets.elastic import compute, stock

POLICY = Policy()


@dataclass(frozen=True)
class Softsign(Op):
    """The operator x / (1 + |x|)."""

    activation: Quant | None = None

    def infer(self, *inputs):
        """The shape of the input."""
        return inputs[0]


@compute.register
def _(op: Softsign, tensors, *x):
    return F.softsign(x[0])


@stock.register
def _(op: Softsign, tensors, *inputs):
    return nn.Softsign()


@write.register
def _(op: Softsign, site):
    return site.node("Softsign", site.read())


@register("space", "two-layers")
def two_layers(inputs, output, *, bend: str, widths: Sizes = (8, 16), policy: Policy = POLICY):
    """Two linear layers with an operator between them, which the recipe names."""
    graph = Graph(*inputs)
    first = policy.edge()
    graph.add("first", Linear(choice("width", widths), **first))
    graph.add("bend", Parts("operator")[bend](activation=policy.tensor()))
    graph.add("second", Linear(output[0], **policy.layer("all", "second", "linear")))
    return SearchSpace(graph, name="two-layers")


@register("criterion", "huber")
@dataclass(frozen=True)
class Huber(Regression):
    """A regression that large residuals disturb less."""

    def loss(self, out, target):
        """The mean Huber loss."""
        return F.huber_loss(out, target)


@register("task", "wave")
def wave(*, samples: int = 240):
    """Values of a wave in four variables."""
    x = torch.rand(samples, 4, generator=torch.Generator().manual_seed(0)) * 2 - 1
    y = torch.sin(3 * x[:, :1]) + x[:, 1:2] * x[:, 2:3]
    half, rest = samples // 2, 3 * samples // 4
    return Task(
        name="wave",
        inputs=(Input("x", (4,)),),
        output=(1,),
        criterion=Regression(),
        train=TrainSplit({"x": x[:half]}, y[:half]),
        validation=Split({"x": x[half:rest]}, y[half:rest]),
        _test=Split({"x": x[rest:]}, y[rest:]),
        usage=Usage(
            {"x": Port("Four variables from -1 to 1.", ("variable",))},
            Port("The height of the wave.", ("value",)),
        ),
    )


class Neighbours(Proposer):
    """A searcher that proposes what a predictor likes best around the front."""

    def __init__(self, problem, *, seed, predictor):
        super().__init__(problem, seed=seed, initial=4)
        self.predictor = predictor

    def ideas(self, rng, told, *, count):
        """The networks one pick away from the front, by their predicted loss."""
        self.predictor.fit(told.rows, told.losses)
        near = mutants(told.rows[nondominated(points(self.problem, told))], self.space)
        return near[np.argsort(self.predictor.predict(near)[0], kind="stable")]


@register("searcher", "neighbours")
def neighbours(problem, seed, context):
    """The searcher with the predictor that the recipe names."""
    return Neighbours(problem, seed=seed, predictor=context.predictor(problem.space, ()))


@register("predictor", "bayesian-linear")
class BayesianLinear:
    """A predictor that is linear in the picks."""

    def __init__(self, space, columns):
        self.features = OneHot(space, extra=columns)

    def fit(self, genotypes, losses):
        """Learn the losses of genotypes."""
        y = checked(genotypes, losses)
        self.model = BayesianRidge().fit(self.features(genotypes).astype(float), y)

    def predict(self, genotypes):
        """The mean and the standard deviation of the loss."""
        return self.model.predict(self.features(genotypes).astype(float), return_std=True)


def spread(subject):
    """The standard deviation of the outputs over a batch."""
    return {"spread": Value(float(subject.passed.output.detach().std(dim=0).mean()))}


register("proxy", "spread")(Proxy(spread, larger_is_better={"spread": True}))


class GzippedOnnx(OnnxForm):
    """An ONNX file in a gzip file."""

    name = "gzipped-onnx"
    suffix = ".gz"

    def suited(self, eight_bit_weights):
        """The form with 8-bit weights of this form."""
        return GzippedOnnx(eight_bit_weights)

    def write(self, deployed, path):
        """Write a `.gz` file."""
        with tempfile.TemporaryDirectory() as folder:
            plain = Path(folder) / "net.onnx"
            super().write(deployed, plain)
            write_atomic(path, gzip.compress(plain.read_bytes(), mtime=0))

    def open(self, path, graph, *, threads=1):
        """The file at `path` in onnxruntime."""
        folder = tempfile.TemporaryDirectory()
        plain = Path(folder.name) / "net.onnx"
        plain.write_bytes(gzip.decompress(Path(path).read_bytes()))
        opened = super().open(plain, graph, threads=threads)

        def run(inputs, _kept=folder):  # which ends with the last reader
            return opened.run(inputs)

        return replace(opened, run=run)


register("export-form", "gzipped-onnx")(GzippedOnnx())
