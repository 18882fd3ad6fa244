"""The options of a user's network beside its precisions: channels, branches, and a few epochs."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from nas.parts import Parts


@dataclass(frozen=True, kw_only=True)
class Channels:
    """The channels, heads and blocks of a trained network that may be left out.

    Attributes:
        shares: The shares of its channels that a group of coupled channels may keep, above 0 and
            at most 1. All channels are always an option.
        multiple_of: A number that divides every width that is offered, but that of all channels.
        leave: Layers that keep their shapes: paths of modules.
        blocks: Whether residual blocks may be absent too.
        importance: The name of the score by which channels are sorted, see `nas parts importance`.

    Raises:
        ValueError: A share or a multiple makes no sense.
        PartError: There is no score of this name.
    """

    shares: tuple[float, ...]
    multiple_of: int = 1
    leave: tuple[str, ...] = ()
    blocks: bool = True
    importance: str = Parts("importance").default

    def __post_init__(self) -> None:
        if not all(0 < share <= 1 for share in self.shares) or min(self.shares, default=1) == 1:
            raise ValueError(
                f"channels are shares of widths above 0 and at most 1, given {self.shares}; give "
                "some below 1, as in (0.5, 0.75)"
            )
        if self.multiple_of < 1:
            raise ValueError(f"multiple_of is at least 1, given {self.multiple_of}")
        Parts("importance").entry(self.importance)

    @classmethod
    def of(cls, given: Channels | Sequence[float] | None) -> Channels | None:
        """The channels that shares stand for; None for none."""
        return given if given is None or isinstance(given, cls) else cls(shares=tuple(given))  # pyright: ignore


@dataclass(frozen=True, kw_only=True)
class Ranks:
    """Branches of low rank beside layers, which make good a part of the error of rounded weights.

    Attributes:
        ranks: The ranks that a branch may have, ascending. No branch is always an option.
        layers: The layers that may have a branch: paths of modules; all that can if left out.

    Raises:
        ValueError: The ranks do not ascend, or are all 0.
    """

    ranks: tuple[int, ...]
    layers: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        ascending = [*self.ranks] == sorted({*self.ranks})
        if not ascending or min(self.ranks, default=0) < 0 or max(self.ranks, default=0) < 1:
            raise ValueError(
                f"ranks are ascending whole numbers, of which 0 is no branch, given {self.ranks}; "
                "give some above 0, as in (0, 4, 8)"
            )

    @property
    def options(self) -> tuple[int, ...]:
        """The ranks that a branch may have, with 0."""
        return tuple(sorted({0, *self.ranks}))

    @classmethod
    def of(cls, given: Ranks | Sequence[int] | None) -> Ranks | None:
        """The branches that ranks stand for; None for none."""
        return given if given is None or isinstance(given, cls) else cls(ranks=tuple(given))  # pyright: ignore


@dataclass(frozen=True, kw_only=True, eq=False)
class Tuning:
    """A few epochs from the weights of a trained network, over all that is searched.

    Attributes:
        epochs: The number of epochs, at least 1.
        loss: The loss of outputs, as the network gives them, for targets: a mean over the samples,
            which torch derives. Without it, the float network is imitated.
        data: A loader of samples to learn from, other ones than those that judge, with targets
            behind the inputs where there is a loss; the calibration samples if left out.
        samples: The most samples that are read of `data`.
        learning_rate: The highest learning rate of the weights; a gentle one if left out.
        batch_size: The number of samples of a step; 32, or all if there are fewer, if left out.

    Raises:
        ValueError: A number is out of its range.
    """

    epochs: int
    loss: Callable[[Any, Any], Any] | None = None
    data: object = None
    samples: int = 16384
    learning_rate: float | None = None
    batch_size: int | None = None

    def __post_init__(self) -> None:
        least = {"epochs": 1, "samples": 2, "batch_size": 2}
        given = {name: getattr(self, name) for name in least}
        wrong = [
            f"{name} is at least {low}, given {given[name]}"
            for name, low in least.items()
            if given[name] is not None and given[name] < low
        ]
        if self.learning_rate is not None and not 0 < self.learning_rate < math.inf:
            wrong.append(f"learning_rate is above 0, given {self.learning_rate}")
        if wrong:
            raise ValueError(f"a tuning cannot be done: {'; '.join(wrong)}")

    @classmethod
    def of(cls, given: Tuning | int) -> Tuning | None:
        """The tuning that a number of epochs stands for; None for 0."""
        if isinstance(given, cls):
            return given
        return None if given == 0 else cls(epochs=given)  # pyright: ignore[reportArgumentType]
