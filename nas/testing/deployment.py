"""The contract of an operator within networks: training, extraction, export, costs and timing."""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, fields, replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from torch import Tensor

from nas.export import FORMS, Exporter, ExportError, bytes_of, verify
from nas.export.stand_in import stand_in
from nas.profiling import OnnxRuntime
from nas.profiling.torch_runtime import Torch
from nas.targets.capability import Capability, Support
from nas.targets.numerics import FULL, Numerics, of_bits, wanted
from nas.tasks.criteria import Classification
from search_spaces.costs import SpaceKernels, bitops, macs, model_bytes, parameters
from search_spaces.formats import Int
from search_spaces.graph import Graph, Node
from search_spaces.kernels import Kernel
from search_spaces.ops import Add, Conv2d, Flatten, Input, Linear, Op, Shape
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from supernets.calibrate import initialise_steps
from supernets.deploy import deploy
from supernets.deployed import Deployed
from supernets.extract import detached, extract
from supernets.inputs import Inputs
from supernets.supernet import Supernet

Form = tuple[Op, tuple[Shape, ...]]
Precisions = dict[str, Quant | None]

CHANNELS, CLASSES, BATCH = 3, 5, 24
FLOATS: Precisions = {"weight": None, "activation": None}
CODES: Precisions = {
    "weight": Quant(Int(8), PerChannel()),
    "activation": Quant(Int(8, symmetric=False)),
}
METADATA = {"genotype": "0," * 20, "space": "0" * 16, "run": "digits", "target": "this-cpu"}
SMALLEST_BUDGET = 0.0  # milliseconds for a kernel: as few runs as there can be


def precise(op: Op, precisions: Precisions) -> Op:
    """The operator with these precisions in those fields that it has."""
    held = {field.name for field in fields(op)}
    return replace(op, **{name: quant for name, quant in precisions.items() if name in held})


@dataclass(frozen=True, eq=False)
class Grown:
    """A trained network that contains forms of an operator.

    Each form is there twice: in full precision, and with 8 bits for weights and activations.

    Attributes:
        addresses: The addresses of the operator.
        inputs: A batch for the network.
    """

    graph: Graph
    addresses: tuple[str, ...]
    supernet: Supernet
    inputs: Inputs

    @property
    def deployed(self) -> Deployed:
        return deploy(extract(self.supernet, (), [self.inputs]))


class _Grower:
    """The builder of a network that contains forms of an operator between known operators.

    Convolutions make the shapes that a form reads from one image: their windows leave the wanted
    height and width. A `Flatten` makes shapes with fewer axes.
    """

    def __init__(self, forms: Sequence[Form]) -> None:
        sides = [side for _, inputs in forms for shape in inputs for side in _image(shape)[1:]]
        self.side = max(sides, default=1)
        self.graph = Graph()
        self.addresses: list[str] = []
        self.ends: list[str] = []
        for number, form in enumerate(forms):
            for name, precisions in (("floats", FLOATS), ("codes", CODES)):
                self._branch(f"form{number}.{name}", form, precisions)
        total = self.ends[0]
        for number, end in enumerate(self.ends[1:]):
            total = self.graph.add(f"sum{number}", Add(), total, end)

    def _branch(self, here: str, form: Form, precisions: Precisions) -> None:
        op, inputs = form
        reads = [
            self._made(f"{here}.read{slot}", shape, precisions)
            if op.reads == "float32"
            else self._input(Input("tokens" + "x".join(map(str, shape)), shape, op.reads))
            for slot, shape in enumerate(inputs)
        ]
        value = self.graph.add(f"{here}.op", precise(op, precisions), *reads)
        self.addresses.append(value)
        if len(op.infer(*inputs)) > 1:
            value = self.graph.add(f"{here}.flat", Flatten(), value)
        head = precise(Linear(CLASSES), precisions)
        self.ends.append(self.graph.add(f"{here}.head", head, value))

    def _made(self, here: str, shape: Shape, precisions: Precisions) -> str:
        out, *sides = _image(shape)
        height, width = (self.side - side + 1 for side in sides)
        window = Conv2d(out, (height, width), padding=0, bias=True)
        image = self._input(Input("image", (CHANNELS, self.side, self.side)))
        value = self.graph.add(here, precise(window, precisions), image)
        if len(shape) == 3:
            return value
        return self.graph.add(f"{here}.flat", Flatten(len(shape) - 1), value)

    def _input(self, op: Input) -> str:
        """The address of an input; the input is added if the graph does not have it yet."""
        if op.name not in self.graph.nodes:
            self.graph.append(op.name, Node(op))
        return op.name


def _image(shape: Shape) -> Shape:
    """The shape of an image whose last axes can be flattened to `shape`."""
    if len(shape) > 3:
        pytest.fail(f"the contract makes tensors of up to three axes, given {shape}")
    return (*shape[:1], *(1,) * (3 - len(shape)), *shape[1:])


@lru_cache(maxsize=16)
def grown(forms: tuple[Form, ...]) -> Grown:
    """The network of these forms after a step of training, made once for all tests."""
    made = _Grower(forms)
    given = {op.name: drawn(op.dtype, (BATCH, *op.shape)) for op in made.graph.inputs.values()}
    supernet = Supernet(SearchSpace(made.graph), seed=0)
    initialise_steps(supernet, [given])
    optimizer = torch.optim.SGD(supernet.parameters(), lr=0.01)
    F.cross_entropy(supernet(given, ()), torch.arange(BATCH) % CLASSES).backward()
    optimizer.step()
    return Grown(made.graph, tuple(made.addresses), supernet, given)


def drawn(dtype: str, shape: Shape) -> Tensor:
    """Random numbers of the given type; tokens are 0 and 1, which every vocabulary has."""
    generator = torch.Generator().manual_seed(2)
    if dtype == "int64":
        return torch.randint(0, 2, shape, generator=generator)
    return torch.randn(shape, generator=generator)


def installed() -> Iterator[Exporter]:
    """All forms of exported files whose packages are installed."""
    for form in FORMS.values():
        try:
            form.require()
        except ExportError:
            continue
        yield form


class DeploymentContract:
    """The tests of an operator within networks, for forms given by the fixture `forms`."""

    @pytest.fixture
    def network(self, forms: Sequence[Form]) -> Grown:
        """The network of the largest and the smallest form."""
        return grown(tuple(dict.fromkeys((forms[0], forms[-1]))))

    def test_a_step_of_training_reaches_its_parameters(self, network: Grown) -> None:
        shapes = network.graph.shapes()
        for address in network.addresses:
            node = network.graph.nodes[address]
            reads = [shapes[read] for read in node.inputs]
            for name in node.op.parameters(*reads):
                gradient = network.supernet.node(address).tensors[name].grad
                assert gradient is not None, (address, name)
                assert gradient.any(), (address, name)

    def test_extracted_it_gives_equal_bits(self, network: Grown) -> None:
        with torch.no_grad():
            ours = network.supernet(network.inputs, ())
            assert torch.equal(detached(network.supernet, ()).module(**network.inputs), ours)

    def test_every_file_answers_as_the_network_does(self, network: Grown, tmp_path: Path) -> None:
        deployed, inputs = network.deployed, network.inputs
        with torch.no_grad():
            outputs = deployed.module()(**inputs)
        for form in installed():
            path = tmp_path / f"net{form.suffix}"
            form.write(deployed, path)
            found = verify(path, deployed, inputs, outputs.argmax(1), criterion=Classification())
            # One tie on a way to an addition moves an output by a step of a grid or two.
            assert found.largest_difference < 0.1 * outputs.std(), form.name
            assert found.agreement is not None
            assert found.agreement > 90, form.name

    def test_its_bytes_are_foretold(self, network: Grown, tmp_path: Path) -> None:
        deployed = replace(network.deployed, metadata=METADATA)
        made_up = replace(stand_in(network.graph), metadata=METADATA)
        for form in (FORMS["onnx"], FORMS["torch"]):  # the rehearsal of others takes as long again
            path = tmp_path / f"net{form.suffix}"
            form.write(deployed, path)
            foretold = form.foretold_bytes(made_up)
            # Each view is foretold alone, but several in a row are written as one.
            assert foretold == pytest.approx(bytes_of(path), rel=0.05, abs=400), form.name

    def test_it_is_priced(self, network: Grown) -> None:
        kernels = SpaceKernels(network.supernet.space)
        for cost in (macs, bitops, parameters, model_bytes):
            assert math.isfinite(kernels.compile(cost)(np.zeros((1, 0), int))[0])
        for op in (network.graph.nodes[address].op for address in network.addresses):
            known = Capability({type(op).__name__: Support((wanted(op),))}, "refuse")
            assert known.container(op) == wanted(op)

    def test_it_is_timed_wherever_it_runs(self, forms: Sequence[Form]) -> None:
        kernels = [found for form in forms for found in _timed(form)]
        for backend in (OnnxRuntime(), Torch()):
            refused = {key: backend.refusal(*key) for key in kernels}
            assert all(told is None for (_, n), told in refused.items() if n.activation == FULL)
            timed = [key for key, told in refused.items() if told is None]
            rows = backend.measure(timed, budget_ms=SMALLEST_BUDGET) if timed else []
            assert len(rows) == len(timed)
            assert all(row.count > 0 for row in rows)


def _timed(form: Form) -> Iterator[tuple[Kernel, Numerics]]:
    """The kernels that run a form: in floats, and with 8 bits if the operator has a precision."""
    op, inputs = form
    if not op.runs:
        return
    kernel = Kernel(op, (), inputs)
    if op.folds:
        kernel = Kernel(Conv2d(inputs[0][0], 1), (op,), inputs)
    held = {field.name for field in fields(kernel.op)}
    yield kernel, of_bits(32 if "weight" in held else None, 32)
    if "activation" in held:
        yield kernel, of_bits(8 if "weight" in held else None, 8)
