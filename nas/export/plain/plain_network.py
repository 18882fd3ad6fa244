"""The plain network: its source, its tensors, and the module made from both."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType

import numpy as np
from numpy.typing import NDArray
from safetensors import SafetensorError
from torch import nn

from nas.export.containers import ExportError
from nas.export.plain.nesting import Attributes
from nas.export.plain.source import source_of
from supernets.assemble import module_name
from supernets.deployed import Deployed
from supernets.encoded import EncodedTensor, IntegerBias

Array = NDArray[np.generic]
MODEL, WEIGHTS = "model.py", "weights.safetensors"


@dataclass(frozen=True, eq=False)
class PlainNetwork:
    """A network that needs nothing of this engine.

    Attributes:
        source: Python code that needs torch and safetensors only.
        tensors: The tensors by attribute path. A quantized tensor is stored as integer codes, with
            `_scale` and, for asymmetric codes, `_zero_point` beside the codes; all others are
            float32.
    """

    source: str
    tensors: Mapping[str, Array]


def plain_network(deployed: Deployed) -> PlainNetwork:
    """The source and the tensors of `deployed`."""
    module = deployed.module()
    return PlainNetwork(source_of(deployed, module), tensors_of(deployed, module))


def tensors_of(deployed: Deployed, module: nn.Module) -> dict[str, Array]:
    """The content of the weights file: tensors by attribute path."""
    paths = Attributes.of(deployed.graph)
    tensors: dict[str, Array] = {}
    for address, path in paths.layers.items():
        layer = dict(module.named_children()).get(module_name(address))
        held = {} if layer is None else layer.state_dict()
        for name, tensor in held.items():
            tensors |= _stored(deployed, address, f"{path}.{name}", tensor.numpy())
    for slot, path in paths.quantizers.items():
        tensors[f"{path}.scale"] = np.array([deployed.inputs[slot].scale], np.float32)
    return tensors


def _stored(deployed: Deployed, address: str, name: str, values: Array) -> dict[str, Array]:
    held = deployed.parameters.get(address, {}).get(name.rpartition(".")[2])
    match held:
        case EncodedTensor():
            return _codes(name, held, values.shape)
        case IntegerBias():
            return {name: held.codes, f"{name}_scale": held.scale}
        case _:
            return {name: values}


def _codes(name: str, tensor: EncodedTensor, shape: tuple[int, ...]) -> dict[str, Array]:
    codes = tensor.stored
    found: dict[str, Array] = {name: codes.reshape(shape), f"{name}_scale": tensor.scale}
    if not tensor.quant.integers.symmetric:
        found[f"{name}_zero_point"] = tensor.zero_point.astype(codes.dtype)
    return found


def executed(source: str, path: Path) -> ModuleType:
    """The Python module made by running `source`; `path` is the file that the module states.

    This runs any code in `source`. The file is not imported, since this would leave bytecode.
    """
    module = ModuleType("model")
    module.__file__ = str(path)
    exec(compile(source, path, "exec"), module.__dict__)
    return module


def load_network(path: Path) -> nn.Module:
    """The network in the folder at `path`, loaded by the folder's own code.

    Warning:
        This runs `model.py` of the folder, which can do anything: load only folders that you
        exported yourself, or whose code you have read.

    Raises:
        ExportError: If the folder holds no network that can be loaded.
    """
    try:
        code = path / MODEL
        return executed(code.read_text(encoding="utf-8"), code).load()
    except (*_UNREADABLE, *_BROKEN) as error:
        raise ExportError(
            f"{path} holds no network that can be loaded ({type(error).__name__}: {error}); export "
            "it again"
        ) from error


_UNREADABLE = (OSError, UnicodeDecodeError, SafetensorError)
_BROKEN = (SyntaxError, NameError, AttributeError, TypeError, ValueError, LookupError, RuntimeError)
