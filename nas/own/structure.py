"""What may change in a network beside its precisions: channels, blocks, low-rank branches."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nas.evaluation.rewrites import default_rewrites, makers
from nas.own.model import OwnModelError, listed
from nas.own.options import Channels, Ranks

if TYPE_CHECKING:  # they load networkx, which a recipe does not need
    from pathlib import Path

    from nas.own.network import OwnNetwork
    from nas.targets import HardwareTarget
    from nas.terminal.display import Display
    from search_spaces.graph import Graph
    from search_spaces.opening import Opening
    from search_spaces.space import Genotype, SearchSpace

_WIDTH = ".width"


@dataclass(frozen=True)
class Structure:
    """What may change in a network beside its precisions.

    Attributes:
        channels: The channels and blocks that may be left out; None keeps all.
        ranks: The low-rank branches that may be added; None adds none.
        rewrites: The names of the rewrites that make networks.
    """

    channels: Channels | None
    ranks: Ranks | None
    rewrites: tuple[str, ...]

    @classmethod
    def of(
        cls,
        channels: Channels | Sequence[float] | None,
        ranks: Ranks | Sequence[int] | None,
        rewrites: Sequence[str] | None,
    ) -> Structure:
        """What may change, with the rewrites that fit where none are given.

        Raises:
            OwnModelError: Branches stay empty, or rewrites are for channels or branches that are
                not offered.
            ValueError: Shares or ranks make no sense.
            PartError: There is no rewrite or no importance of a name.
        """
        wide, branched = Channels.of(channels), Ranks.of(ranks)
        if rewrites is None:
            named = default_rewrites(channels=wide is not None, ranks=branched is not None)
            return cls(wide, branched, named)
        found = cls(wide, branched, tuple(rewrites))
        found._require_rewrites()
        return found

    def space(
        self, graph: Graph, opening: Opening, devices: Sequence[HardwareTarget], *, name: str
    ) -> SearchSpace:
        """The space of a graph: with widths, then precisions, then ranks as choices.

        Args:
            graph: The graph of the network, in full precision.
            opening: The precisions.
            devices: The devices for which the space is meant; none stands for any.
            name: The name of the space.

        Raises:
            OwnModelError: No width can change, no layer takes a branch, no device runs branches,
                or a layer is not there.
            ValueError: As `search_spaces.opening.opened` does.
        """
        from search_spaces.space import SearchSpace

        found = SearchSpace(self._opened(graph, opening), name=name)
        if self.ranks is not None and devices:
            _require_run(found, devices)
        return found

    def _narrowed(self, graph: Graph) -> Graph:
        """The graph with choices of widths and of the presence of blocks."""
        if self.channels is None:
            return graph
        from search_spaces.slimming import slimmed

        made = self.channels
        try:
            found = slimmed(
                graph,
                shares=made.shares,
                multiple_of=made.multiple_of,
                leave=made.leave,
                blocks=made.blocks,
            )
        except ValueError as error:
            raise _nothing_to_slim(graph, made) from error
        if not any(choice.name.endswith(_WIDTH) for choice in found.choices()):
            raise _nothing_to_slim(graph, made)
        return found

    def _opened(self, graph: Graph, opening: Opening) -> Graph:
        from search_spaces.compensation import branches_of, compensated
        from search_spaces.opening import opened

        found = opened(self._narrowed(graph), opening)
        if self.ranks is None:
            return found
        try:
            made = compensated(found, self.ranks.options, layers=self.ranks.layers)
        except ValueError as error:
            raise OwnModelError(f"ranks: {error}") from error
        if not branches_of(made):
            raise OwnModelError(
                "no layer of the network takes a branch of low rank: linear layers and "
                "convolutions without groups do, whose weights have a precision and which do not "
                "give the output; leave ranks out"
            )
        return made

    def applied(self, network: OwnNetwork, folder: Path, display: Display) -> OwnNetwork:
        """The network from which those of the space are made: with its channels sorted.

        Raises:
            CheckpointError: What the folder keeps is damaged.
        """
        if self.channels is None:
            return network
        with display.stage("sort") as advance:
            advance(0, 1, "channels by importance")
            found = network.sorted(self.channels.importance, folder)
            advance(1, 1, "channels by importance")
        return found

    def _require_rewrites(self) -> None:
        """Refuse rewrites that leave something undone, or would have nothing to do."""
        from supernets.post_training import Filling, OfLargest

        made = dict(zip(self.rewrites, makers(self.rewrites), strict=True))
        filling = [name for name, make in made.items() if isinstance(make, Filling)]
        repairing = [name for name, make in made.items() if isinstance(make, OfLargest)]
        if self.ranks is not None and not filling:
            raise OwnModelError(
                f"branches of low rank stay empty, as none of the rewrites {', '.join(made)} fills "
                "them; add eora or lorc behind the rounding, or leave rewrites out"
            )
        if self.ranks is None and filling:
            raise OwnModelError(
                f"{', '.join(filling)} fills branches of low rank, of which there are none; give "
                "ranks, or leave this rewrite out"
            )
        if self.channels is None and repairing:
            raise OwnModelError(
                f"{', '.join(repairing)} repairs what is behind channels that are left out, of "
                "which there are none; give channels, or leave this rewrite out"
            )


def _require_run(space: SearchSpace, devices: Sequence[HardwareTarget]) -> None:
    """Refuse branches that no device runs, so that none would ever be chosen."""
    from search_spaces.compensation import branch_nodes

    branches = branch_nodes(space.decode(space.largest))
    refused = {
        device.name: device.capability.refusal(node.op)
        for device in devices
        for node in branches
        if device.capability.container(node.op) is None
    }
    if len(refused) == len(devices):
        told = "; ".join(f"{name}: {why}" for name, why in refused.items())
        raise OwnModelError(
            f"no target runs branches of low rank, which compute in full precision ({told}); "
            "leave ranks out, or name another target"
        )


def _nothing_to_slim(graph: Graph, made: Channels) -> OwnModelError:
    """The refusal of channels where no width can change, with the reasons."""
    from search_spaces.slimming import free_groups

    try:
        found = free_groups(graph, leave=made.leave)
    except ValueError as error:  # a layer to be left alone is not there
        return OwnModelError(f"channels: {error}")
    alike: dict[str, list[str]] = {}
    for name, group in found.groups.items():
        why = group.fixed or f"shares {made.shares} leave no other multiple of {made.multiple_of}"
        alike.setdefault(why, []).append(name.removesuffix(_WIDTH))
    told = "; ".join(f"{listed(names)}: {why}" for why, names in alike.items())
    return OwnModelError(
        f"no width of the network can change ({told or 'it has no channels'}); leave channels out"
    )


def most_precise(space: SearchSpace) -> list[Genotype]:
    """The most precise networks of several widths: the whole network, and narrower ones.

    In each, all layers keep about the same share of their channels; the last network is the whole
    one with branches of the smallest rank, where there are branches.
    """
    from search_spaces.compensation import rank_choices, unbranched

    whole, ranks = unbranched(space), [*rank_choices(space).values()]
    widths = {made.name: len(made.options) for made in space.choices if made.name.endswith(_WIDTH)}
    found = [
        _with(space, whole, {name: max(0, count - 1 - cut) for name, count in widths.items()})
        for cut in range(max(widths.values(), default=1))
    ]
    if ranks:
        found.append(_with(space, whole, dict.fromkeys(ranks, 1)))
    return found


def _with(space: SearchSpace, genotype: Genotype, options: Mapping[str, int]) -> Genotype:
    """The genotype with other options of some choices, by their positions."""
    picks = list(genotype)
    for name, option in options.items():
        picks[space.column[name]] = option
    return space.canonical(picks)


def kept_channels(space: SearchSpace, genotype: Genotype) -> float | None:
    """The share that a network keeps of all channels with a choice; None where none have one.

    The channels of a block that is absent are not kept.
    """
    widths = {made.name: made.options for made in space.choices if made.name.endswith(_WIDTH)}
    if not widths:
        return None
    picks = space.picks(genotype)
    kept = sum(int(picks.get(name, 0)) for name in widths)  # pyright: ignore[reportArgumentType]
    return kept / sum(options[-1] for options in widths.values())


def ranks_in(space: SearchSpace, genotype: Genotype) -> dict[str, int] | None:
    """The ranks of the branches that a network has, by layer; None where none are offered."""
    from search_spaces.compensation import rank_choices

    names = rank_choices(space)
    if not names:
        return None
    picks = space.picks(genotype)
    found = {layer: int(picks.get(name, 0)) for layer, name in names.items()}  # pyright: ignore
    return {layer: rank for layer, rank in found.items() if rank}


def changes(space: SearchSpace, genotype: Genotype) -> str | None:
    """A sentence on the channels and branches of a network; None where none are offered."""
    told: list[str] = []
    kept, ranks = kept_channels(space, genotype), ranks_in(space, genotype)
    if kept is not None:
        told.append("keeps all channels" if kept == 1 else f"keeps {kept:.0%} of the channels")
    if ranks is not None:
        beside = ", ".join(f"{rank} beside {layer}" for layer, rank in ranks.items())
        told.append(f"adds branches of rank {beside}" if beside else "adds no branches of low rank")
    return f"The returned network {' and '.join(told)}." if told else None
