"""Search spaces, and genotypes as tuples or as rows of integer arrays."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from decimal import Decimal
from functools import cached_property
from graphlib import TopologicalSorter
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter

from search_spaces import serialize
from search_spaces.activity import Openings, activity_tables, count_networks
from search_spaces.choice import Choice, choice, is_open, rebuild, texts_in
from search_spaces.documents import MOST_BYTES, Source, checked, parse_json, read_text
from search_spaces.graph import Graph, can_hold
from search_spaces.labels import Label
from search_spaces.names import require_name, require_text
from search_spaces.notebook import html_table
from search_spaces.picks import Picks, plain_options

_REMEDY = "give what `to_json` wrote, such as space.json of a run folder"
_TEXT = Source("the text of a search space", _REMEDY)
_FILE = TypeAdapter(serialize.SpaceFile)

Genotype = tuple[int, ...]
IntArray = NDArray[np.integer]


class InvalidGenotype(ValueError):
    """The error for a genotype that does not belong to the space with which it is used."""


class SearchSpace:
    """The set of all networks that one graph of operator specs describes.

    A genotype holds one option index per entry of `choices`. Arrays of genotypes have the shape
    `(n, len(choices))` and any integer dtype.

    Args:
        graph: The graph, placeholders included.
        name: The name of the space in reports.

    Attributes:
        choices: The distinct choices, in the order in which the nodes of the graph use them.
        counts: The number of options of each choice, `(choices,)`.
        column: Choice name -> position of the choice in a genotype.
        openings: The rules that open choices.

    Raises:
        InvalidName: If the space, a choice, an address or an option has a name that
            `search_spaces.names` refuses.
        ValueError: If two choices have the same name but different options, or no network has a
            node of the graph.
    """

    def __init__(self, graph: Graph, *, name: str = "custom") -> None:
        require_name("a search space", name)
        for address, node in graph.nodes.items():
            for text in texts_in(node.op):
                require_text(f"the operator at {address!r}", text)
            if not can_hold(node.present):
                raise ValueError(
                    f"node {address!r} is in no network of space {name!r}, as its conditions are "
                    "never all true; leave the node out, or offer options under which it is present"
                )
        self.graph = graph
        self.name = name
        self.choices = _distinct(graph)
        self.counts = np.array([len(c.options) for c in self.choices], dtype=np.int64)
        self.column = {c.name: position for position, c in enumerate(self.choices)}
        self._rules = activity_tables(graph)
        self.openings = Openings(self.column, self._rules)

    @property
    def smallest(self) -> Genotype:
        """The genotype with the first option of every choice."""
        return (0,) * len(self.choices)

    @cached_property
    def largest(self) -> Genotype:
        """The genotype with the last option of every choice, in canonical form."""
        return self.canonical(tuple(int(count) - 1 for count in self.counts))

    @cached_property
    def size(self) -> int:
        """The exact number of distinct networks in the space."""
        counts = {c.name: len(c.options) for c in self.choices}
        return count_networks(counts, self._rules)

    @cached_property
    def fingerprint(self) -> str:
        """A digest of the graph, 16 hexadecimal digits; files made for the space carry it.

        The name of the space does not enter.
        """
        # The 1 began every digest when files had that format; other digits would make of every
        # archive one of another space.
        content = json.dumps({"format": 1, **serialize.graph_to_json(self.graph)}, sort_keys=True)
        return hashlib.sha256(content.encode()).hexdigest()[:16]

    def sample(self, rng: np.random.Generator) -> Genotype:
        """A random genotype in canonical form; every choice is drawn uniformly."""
        return as_genotypes(self.sample_array(rng, 1))[0]

    def sample_array(self, rng: np.random.Generator, count: int) -> IntArray:
        """Random genotypes as `sample` draws them, `(count, choices)`; rows may repeat."""
        return self.canonical_array(rng.integers(0, self.counts, size=(count, len(self.counts))))

    def every_row(self) -> IntArray:
        """Every canonical genotype, `(size, choices)`, in lexicographic order; for small spaces."""
        rows = np.zeros((1, len(self.choices)), dtype=np.int64)
        openers = {
            name: {other for table in self._rules.get(name, ()) for other in table.choices}
            for name in self.column
        }
        # Choices that open others come first, so that few rows are made that are dropped again.
        for name in TopologicalSorter(openers).static_order():
            column, count = self.column[name], int(self.counts[self.column[name]])
            options = np.tile(np.arange(count), len(rows))
            rows = np.repeat(rows, count, axis=0)
            rows[:, column] = options
            rows = rows[(self.canonical_array(rows) == rows).all(axis=1)]
        return np.unique(rows, axis=0)

    def canonical(self, genotype: Sequence[int]) -> Genotype:
        """The genotype with every closed choice at its first option.

        Genotypes of equal networks thereby become equal.

        Raises:
            InvalidGenotype: If `genotype` does not belong to the space.
        """
        return as_genotypes(self.canonical_array(np.array([self.validate(genotype)])))[0]

    def canonical_array(self, genotypes: IntArray) -> IntArray:
        """The canonical form of every row of `genotypes` `(n, choices)`, in the same shape."""
        return genotypes * self.active_array(genotypes)

    def active(self, genotype: Sequence[int]) -> NDArray[np.bool_]:
        """Whether each choice is open under `genotype`, `(choices,)`."""
        return self.active_array(np.array([self.validate(genotype)]))[0]

    def active_array(self, genotypes: IntArray) -> NDArray[np.bool_]:
        """Whether each choice is open, for every row of `genotypes` `(n, choices)`; same shape."""
        return self.openings(genotypes)[self.openings.rule].T

    def validate(self, genotype: Sequence[int]) -> Genotype:
        """The genotype as a tuple of ints.

        Raises:
            InvalidGenotype: If the number of entries is wrong or an entry is no option index.
        """
        if len(genotype) != len(self.choices):
            raise InvalidGenotype(
                f"a genotype of space {self.name!r} has {len(self.choices)} entries, given "
                f"{len(genotype)}; was it made for another space?"
            )
        for value, made in zip(genotype, self.choices, strict=True):
            if not 0 <= value < len(made.options):
                raise InvalidGenotype(
                    f"choice {made.name!r} has options 0..{len(made.options) - 1}, given {value}"
                )
        return tuple(int(value) for value in genotype)

    def decode(self, genotype: Sequence[int]) -> Graph:
        """The resolved graph of `genotype`."""
        picks = zip(self.column, self.validate(genotype), strict=True)
        return self.graph.resolve(dict(picks))

    def describe(self, genotype: Sequence[int]) -> dict[str, Any]:
        """The picks in words: choice name -> picked option as JSON, for all open choices."""
        picked = zip(self.choices, self.validate(genotype), self.active(genotype), strict=True)
        return {c.name: serialize.encode(c.options[i]) for c, i, is_active in picked if is_active}

    def picks(self, genotype: Sequence[int]) -> Picks:
        """The picks as plain values, such as 8 for 8 bits: choice name -> pick, for open choices.

        Raises:
            InvalidGenotype: If `genotype` does not belong to the space.
        """
        indices, active = self.validate(genotype), self.active(genotype)
        return Picks(
            (name, options[index])
            for (name, options), index, is_active in zip(
                self.plain_options.items(), indices, active, strict=True
            )
            if is_active
        )

    @cached_property
    def plain_options(self) -> Mapping[str, Sequence[Label]]:
        """Choice name -> the options as plain values, see `search_spaces.picks`."""
        return {made.name: plain_options(made.options) for made in self.choices}

    def genotype(self, description: Mapping[str, Any]) -> Genotype:
        """The genotype for a description that `describe` or `picks` returned.

        Choices that the description leaves out stand at their first option.

        Raises:
            InvalidGenotype: If the space does not have a choice or an option of the description.
        """
        unknown = sorted(set(description) - set(self.column))
        if unknown:
            raise InvalidGenotype(f"space {self.name!r} has no choices {unknown}")
        picks = [0] * len(self.choices)
        for position, made in enumerate(self.choices):
            if made.name in description:
                given, plain = description[made.name], [*self.plain_options[made.name]]
                written = [serialize.encode(option) for option in made.options]
                if given not in plain and given not in written:
                    raise InvalidGenotype(
                        f"choice {made.name!r} has the options {plain}, given {given!r}"
                    )
                picks[position] = (plain if given in plain else written).index(given)
        return self.canonical(picks)

    def restrict(self, keep: Callable[[Choice[Any], Any], bool]) -> SearchSpace:
        """The space with only those options for which `keep(choice, option)` is true.

        Raises:
            ValueError: If a choice is left without an option.
        """

        def narrow(value: Any) -> Any:
            if isinstance(value, Choice):
                kept = [narrow(option) for option in value.options if keep(value, option)]
                if not kept:
                    raise ValueError(
                        f"restricting leaves choice {value.name!r} of space {self.name!r} without "
                        f"an option (it had {value.options}); allow at least one of them"
                    )
                return choice(value.name, kept)
            return rebuild(value, narrow) if is_open(value) else value

        return SearchSpace(self.graph.rewritten(narrow), name=self.name)

    def to_json(self) -> str:
        """The whole space as JSON text, which `from_json` reads."""
        content = {"name": self.name, "format": serialize.FORMAT}
        return json.dumps({**content, **serialize.graph_to_json(self.graph)}, indent=1)

    @classmethod
    def from_json(cls, text: str) -> SearchSpace:
        """The space that a text of `to_json` describes; raises `UnreadableFile` with the place."""
        return cls.from_content(parse_json(text, _TEXT), _TEXT)

    @classmethod
    def read(cls, path: Path, *, remedy: str = _REMEDY) -> SearchSpace:
        """The space in a file that `to_json` has filled.

        Args:
            path: The file.
            remedy: What the user can do about an error.

        Raises:
            UnreadableFile: If the file does not hold a space.
        """
        source = Source(f"search space {path}", remedy)
        text = read_text(path, source, at_most=MOST_BYTES)
        return cls.from_content(parse_json(text, source), source)

    @classmethod
    def from_content(cls, content: object, source: Source) -> SearchSpace:
        """The space that parsed JSON describes; raises `UnreadableFile` with the place.

        Args:
            content: The parsed text of `to_json`.
            source: The origin of the text, for errors.
        """
        data = checked(content, _FILE, source)
        graph = serialize.graph_from_json(data, source)
        try:
            space = cls(graph, name=data.name)
            for genotype in (space.smallest, space.largest):
                space.decode(genotype).shapes()
        except (ValueError, TypeError, LookupError, ArithmeticError) as error:
            raise source.error(f"holds no networks: {error}") from error
        return space

    def __repr__(self) -> str:
        return f"<SearchSpace {self.name!r}: {len(self.choices)} choices, {_count(self.size)}>"

    def _repr_html_(self) -> str:
        rows = ((name, ", ".join(map(str, told))) for name, told in self.plain_options.items())
        title = f"Space {self.name}: {len(self.choices)} choices, {_count(self.size)}"
        return html_table(title, ("choice", "options"), rows)

    def __reduce__(self) -> tuple[Any, ...]:
        return SearchSpace.from_json, (self.to_json(),)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, SearchSpace) and self.graph == other.graph

    def __hash__(self) -> int:
        return hash(self.fingerprint)


def _count(networks: int) -> str:
    few = networks < 1_000_000
    return f"{networks:,} networks" if few else f"{Decimal(networks):.3g} networks"


def as_genotypes(rows: IntArray) -> list[Genotype]:
    """The rows of an array `(n, choices)` as hashable genotypes."""
    return [tuple(row) for row in rows.tolist()]


def _distinct(graph: Graph) -> tuple[Choice[Any], ...]:
    named: dict[str, Choice[Any]] = {}
    for found in graph.choices():
        known = named.setdefault(found.name, found)
        if known != found:
            raise ValueError(
                f"choice {found.name!r} is used with options {known.options} and with "
                f"{found.options}; the same name is the same decision, so give both the same "
                "options or another name"
            )
    return tuple(named.values())
