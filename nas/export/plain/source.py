"""The generated Python source of a plain network: a class per block, with torch's stock layers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from importlib.resources import files

from torch import nn

from nas.export.containers import ExportError
from nas.export.plain.expressions import function
from nas.export.plain.nesting import Attributes, Leaf, Names, Nested, Slot, blocks_of, class_names
from search_spaces.graph import Graph
from search_spaces.ops import Op, Outputs, Shape
from search_spaces.quant import Quant
from supernets.assemble import module_name
from supernets.deployed import Deployed
from supernets.elastic import is_bare
from supernets.encoded import ActivationScale

_INDENT = " " * 8
_USAGE = '''"""A network exported by elastic-nas; the metadata of its weights say which.

The folder stands for itself: this file and `weights.safetensors`, no package but torch and
safetensors.

    from model import load

    network = load()
    {result} = network({names})  # {gives}

{reads}
How raw data become the inputs, and what the output means, is stated as `elastic_nas.inputs` and
`elastic_nas.output` by `safetensors.safe_open("weights.safetensors", "pt").metadata()`.

Norms are folded into the layers before them. Each layer's inputs pass a `Quantize`, which rounds
them as integer hardware does; weights and biases are integers in the file and floats in the
network, which trains like any other: rounding hands gradients on. A trained weight leaves its grid.
"""
'''


_frame = files("nas.export.plain").joinpath("frame.py").read_text
_PLACE = '''class Network(nn.Module):
    """Stands where the exported network's classes go."""
'''


def source_of(deployed: Deployed, module: nn.Module) -> str:
    """The source of a deployed network without its numbers; `module` is the network in torch."""
    graph = deployed.graph
    inputs, shapes = graph.inputs.values(), graph.shapes()
    outputs = Names(op.name for op in inputs)
    blocks, attributes = blocks_of(graph), Attributes.of(graph)
    printer = _Printer(graph, module, deployed.inputs, attributes, class_names(blocks))
    classes = printer.classes(blocks)
    usage = _USAGE.format(
        names=", ".join(op.name for op in inputs),
        reads="\n".join(f"`{op.name}` is {op.dtype} {_batch_of(op.shape)}." for op in inputs),
        result=", ".join(map(outputs.fresh, graph.results)),
        gives=", ".join(_batch_of(shapes[address]) for address in graph.results.values()),
    )
    before, after = _frame().split(_PLACE)
    return usage + before[before.index("\n") :] + "\n\n".join(classes) + after


def _parameters(layer: nn.Module | None) -> Iterable[tuple[str, nn.Parameter]]:
    return () if layer is None else layer.named_parameters()


def _batch_of(shape: Shape) -> str:
    return f"({', '.join(map(str, ('batch', *shape)))})"


@dataclass(frozen=True)
class _Printer:
    graph: Graph
    module: nn.Module
    scales: Mapping[Slot, ActivationScale]
    attributes: Attributes
    class_names: Mapping[str, str]

    def classes(self, block: Nested) -> list[str]:
        """The source of the classes of all inner blocks, then of the class of `block`."""
        inner = [
            text for item in block.items if isinstance(item, Nested) for text in self.classes(item)
        ]
        return [*inner, _Class(self, block).text()]

    def layer(self, address: str) -> nn.Module | None:
        """The stock layer at an address; None for functions."""
        return dict(self.module.named_children()).get(module_name(address))


class _Class:
    """The generator of a class: the lines of its `__init__` and of its `forward`."""

    def __init__(self, printer: _Printer, block: Nested) -> None:
        self.printer, self.block = printer, block
        self.made: list[str] = []
        self.lines: list[str] = []
        self.folded: dict[str, str] = {}
        inputs = printer.graph.inputs
        given = [inputs[read].name for read in block.reads] if not block.path else []
        self.variables = Names(given)
        self.parameters = given or [self.variables.fresh("x") for _ in block.reads]
        self.values = dict(zip(block.reads, self.parameters, strict=True))

    def text(self) -> str:
        for position, item in enumerate(self.block.items):
            if isinstance(item, Nested):
                self._block(item)
            else:
                self._leaf(item, self.block.items[position + 1 : position + 2])
        given = ", ".join(f"{name}: Tensor" for name in self.parameters)
        last = self.printer.graph.nodes[self.block.output].op
        kind = "tuple[Tensor, ...]" if isinstance(last, Outputs) else "Tensor"
        returned = self.values[self.block.output]
        if self.lines and self.lines[-1].startswith(f"{returned} = "):
            returned = self.lines.pop().removeprefix(f"{returned} = ")
        lines = [
            f"class {self.printer.class_names[self.block.path]}(nn.Module):",
            "    def __init__(self) -> None:",
            f"{_INDENT}super().__init__()",
            *(_INDENT + line for line in self.made),
            "",
            f"    def forward(self, {given}) -> {kind}:",
            *(_INDENT + line for line in self.lines),
            f"{_INDENT}return {returned}",
        ]
        return "\n".join(lines) + "\n"

    def _block(self, block: Nested) -> None:
        self.made.append(f"self.{block.name} = {self.printer.class_names[block.path]}()")
        given = ", ".join(self.values[read] for read in block.reads)
        self._assign(block.output, block.name, f"self.{block.name}({given})")

    def _leaf(self, leaf: Leaf, following: tuple[Leaf | Nested, ...]) -> None:
        printer, address = self.printer, leaf.address
        node = printer.graph.nodes[address]
        given = [
            self._reading(leaf, slot, self.values[read]) for slot, read in enumerate(node.inputs)
        ]
        layer = printer.layer(address)
        runs = type(layer) is not nn.Identity
        if layer is not None and runs:
            made = constructor(layer, address)
            self.made.append(f"self.{leaf.name} = {made}{_bits(node.op.weight)}")
        if isinstance(node.op, Outputs):
            expression = f"({', '.join(given)})"
        elif not runs:
            (expression,) = given
        elif layer is None or is_bare(layer):
            held = {name: f"self.{leaf.name}.{name}" for name, _ in _parameters(layer)}
            expression = self._function(leaf, node.op, given, held)
        else:
            expression = f"self.{leaf.name}({', '.join(given)})"
        name = self.folded.pop(given[0], leaf.name)
        if self._folds(address, following):
            self.values[address] = expression
            self.folded[expression] = name
        else:
            self._assign(address, name, expression)

    def _function(self, leaf: Leaf, op: Op, given: list[str], held: Mapping[str, str]) -> str:
        """The expression of an operator; an input that occurs repeatedly gets a variable."""
        expression = function(op, given, held)
        for place, text in enumerate(given):
            if not text.isidentifier() and expression.count(text) > 1:
                given[place] = self.variables.fresh(f"{leaf.name}_input")
                self.lines.append(f"{given[place]} = {text}")
        return function(op, given, held)

    def _reading(self, leaf: Leaf, slot: int, value: str) -> str:
        scale = self.printer.scales.get((leaf.address, slot))
        if scale is None:
            return value
        path = self.printer.attributes.quantizers[leaf.address, slot]
        name = path.rpartition(".")[2]
        options = f"bits={scale.quant.bits}"
        zero_point = f", zero_point={scale.zero_point}" if scale.zero_point else ""
        options += ", symmetric=True" if scale.quant.integers.symmetric else zero_point
        self.made.append(f"self.{name} = Quantize({options})")
        return f"self.{name}({value})"

    def _folds(self, address: str, following: tuple[Leaf | Nested, ...]) -> bool:
        """Whether the expression of a node moves into the next line, as its only reader is there.

        The reader must have a single input without a quantizer.
        """
        if not following or isinstance(following[0], Nested):
            return False
        after = following[0].address
        node = self.printer.graph.nodes[after]
        alone = self.printer.graph.consumers()[address] == [after]
        return alone and node.op.arity == 1 and (after, 0) not in self.printer.scales

    def _assign(self, address: str, name: str, expression: str) -> None:
        if expression.isidentifier():
            self.values[address] = expression
            return
        variable = self.variables.fresh(name)
        self.lines.append(f"{variable} = {expression}")
        self.values[address] = variable


# Defaults that torch's representations state; a line is easier to read without them.
_DEFAULTS = {
    "Conv2d": ", stride=(1, 1)",
    "Linear": ", bias=True",
    "Flatten": "start_dim=1, end_dim=-1",
}


def _bits(quant: Quant | None) -> str:
    return "" if quant is None else f"  # weights: {quant.bits} bits"


def constructor(layer: nn.Module, address: str) -> str:
    """The constructor call of a stock layer, derived from the layer's representation."""
    kind = type(layer).__name__
    if getattr(nn, kind, None) is not type(layer):
        raise ExportError(
            f"the layer {address!r} is a {kind}, which is none of torch.nn, so no file can hold it "
            "without us; let `supernets.elastic.stock` give a layer of torch.nn"
        )
    if is_bare(layer):
        shapes = {name: tuple(tensor.shape) for name, tensor in layer.named_parameters()}
        held = (f'"{name}": nn.Parameter(torch.empty({shapes[name]}))' for name in shapes)
        return f"nn.ParameterDict({{{', '.join(held)}}})"
    if isinstance(layer, nn.AvgPool2d) and not layer.count_include_pad:  # torch says nothing of it
        return f"nn.{repr(layer)[:-1]}, count_include_pad=False)"
    if isinstance(layer, nn.Sequential):
        return f"nn.Sequential({', '.join(constructor(inner, address) for inner in layer)})"
    return f"nn.{layer!r}".replace(_DEFAULTS.get(kind, "\0"), "")
