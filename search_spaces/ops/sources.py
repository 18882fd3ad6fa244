"""The inputs of a network, and operators that stand right behind them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import ClassVar, Self

from search_spaces.names import require_input_name
from search_spaces.ops.op import DType, Op, Shape, Size
from search_spaces.ops.window import Extent, image_of, pair, shortest
from search_spaces.quant import Quant


@dataclass(frozen=True)
class Input(Op):
    """An input of the network, the only operator that reads nothing.

    Attributes:
        name: The name of the tensor in batches and in exported files. The address of the node may
            be another name.
        shape: The shape per sample, which is the same for all networks of a space.
        dtype: The type of the numbers; `int64` for tokens, which only operators such as `Embedding`
            read.
        values: The number of different tokens, which are 0 to `values - 1`; None if they are not
            counted, or the numbers are floats.

    Raises:
        InvalidName: If `search_spaces.names` refuses the name.
        ValueError: If a length of the shape holds a choice or is below 1, or floats are counted.
    """

    arity: ClassVar[int] = 0
    younger: ClassVar[frozenset[str]] = frozenset({"values"})
    name: str
    shape: tuple[Size, ...]
    dtype: DType = "float32"
    values: Size | None = None

    def __post_init__(self) -> None:
        require_input_name(self.name)
        if not all(isinstance(length, int) and length > 0 for length in self.shape):
            raise ValueError(
                f"input {self.name!r} has the shape {self.shape}; every length is a number of at "
                "least 1, since all networks of a space read the same inputs: put a Resize with a "
                "choice of sizes behind the input"
            )
        if self.dtype not in ("float32", "int64"):
            raise ValueError(
                f"input {self.name!r} has the dtype {self.dtype!r}; give 'float32', or 'int64' for "
                "tokens"
            )
        if self.values is not None and (self.dtype != "int64" or self.values < 1):
            raise ValueError(
                f"input {self.name!r} has {self.values} different values of the dtype "
                f"{self.dtype!r}; give a number of at least 1, and only for tokens, 'int64'"
            )

    def infer(self, *inputs: Shape) -> Shape:
        return self.shape


@dataclass(frozen=True)
class Resize(Op):
    """Bilinear resizing of an image to `size`, one number for both sides or `(height, width)`.

    The pixels are squares whose centres are compared, as in torch's `interpolate` with
    `align_corners=False`. Nothing runs for an image that has the size already. `size` may be a
    choice of resolution. A `Resize` that alone reads an input belongs to the preparation of the
    input, for which no device is charged (`search_spaces.fusion.PREPARATION`).
    """

    size: Extent
    activation: Quant | None = None
    channelwise: ClassVar[bool] = True

    def canonical(self) -> Self:
        return replace(self, size=shortest(pair(self.size)))

    def infer(self, *inputs: Shape) -> Shape:
        channels, _, _ = image_of(inputs[0], "Resize")
        return (channels, *pair(self.size))

    def is_identity(self, *inputs: Shape) -> bool:
        return self.infer(*inputs) == inputs[0] and self.activation is None

    def never_negative(self, *inputs: bool) -> bool:
        return inputs[0]
