"""What surrounds every exported network; `source` replaces this text and the class `Network`."""

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

WEIGHTS = Path(__file__).with_name("weights.safetensors")


class Quantize(nn.Module):
    """Rounds to the nearest `scale * (code - zero_point)` with a code of so many bits."""

    scale: Tensor

    def __init__(self, bits: int, zero_point: int = 0, symmetric: bool = False) -> None:
        super().__init__()
        self.lowest = (1 - 2 ** (bits - 1) if symmetric else 0) - zero_point
        self.highest = (2 ** (bits - 1) if symmetric else 2**bits) - 1 - zero_point
        self.register_buffer("scale", torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        """`x` on the grid, in its own shape."""
        steps = (x / self.scale).clamp(self.lowest, self.highest)
        rounded = steps.round()
        if torch.is_grad_enabled():  # the same number, with the gradient of `steps`
            rounded = steps + (rounded - steps).detach()
        return rounded * self.scale

    def extra_repr(self) -> str:
        """What `print` shows."""
        return f"{self.highest - self.lowest + 1} steps"


class Network(nn.Module):
    """Stands where the exported network's classes go."""


def load(path: str | Path = WEIGHTS) -> Network:
    """The network with the numbers in the file at `path`, ready for inference."""
    return filled(load_file(path))


def filled(stored: dict[str, Tensor]) -> Network:
    """The network with the numbers that a file holds, by name."""
    with torch.device("meta"):
        network = Network()
    values = {name: dequantized(stored, name) for name in network.state_dict()}
    network.load_state_dict(values, assign=True)
    return network.eval()


def dequantized(stored: dict[str, Tensor], name: str) -> Tensor:
    """A tensor of the file: where it holds integers, `scale * (codes - zero_point)`."""
    codes = stored[name]
    scale, zero_point = stored.get(f"{name}_scale"), stored.get(f"{name}_zero_point")
    if scale is None:
        return codes
    column = (-1,) + (1,) * (codes.dim() - 1)  # one scale per output channel, or one in all
    if zero_point is not None:
        codes = codes.int() - zero_point.int().view(column)
    return codes * scale.view(column)
