"""The options of a user's network beside its precisions: channels, and branches of low rank."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

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
