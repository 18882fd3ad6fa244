"""The contract of a searcher: give `make` as a fixture and inherit every test."""

from collections.abc import Callable, Iterable, Iterator, Sequence

import numpy as np
import pytest

from nas.archive.archive import Archive
from nas.evaluation.evaluation import Evaluation
from nas.problem.goals import Goal, Measured, Problem
from nas.search.loop import search
from nas.search.searcher import Searcher
from search_spaces.choice import choice
from search_spaces.graph import Graph
from search_spaces.ops import Conv2d, Flatten, GlobalPool, Input, Linear, deeper_than
from search_spaces.space import Genotype, IntArray, SearchSpace
from search_spaces.tabular import Decision, tabular_space

MakeSearcher = Callable[[Problem, int], Searcher]


def chain(*, depth: int, widths: Sequence[int] = (4, 8, 12)) -> SearchSpace:
    """Convolutions in a row: an elastic depth, and per layer a kernel and a width."""
    graph = Graph(Input("image", (3, 8, 8)))
    layers = choice("depth", range(1, depth + 1))
    for i in range(depth):
        spec = Conv2d(choice(f"layer{i}.width", widths), choice(f"layer{i}.kernel", (1, 3, 5)))
        graph.add(f"layer{i}", spec, present=deeper_than(layers, i) if i else True)
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(10))
    return SearchSpace(graph, name="chain")


def widths(count: int) -> SearchSpace:
    """A space of `count` networks: one convolution, whose width alone may be open."""
    graph = Graph(Input("image", (3, 8, 8)))
    graph.add("layer", Conv2d(choice("width", range(4, 4 + count)), 3))
    graph.add("pool", GlobalPool())
    graph.add("flat", Flatten())
    graph.add("head", Linear(10))
    return SearchSpace(graph, name="widths")


def alternatives(count: int) -> SearchSpace:
    """One of `count` layers, each with a choice of its own among five: 5 * `count` networks."""
    layers = tuple(range(count))
    own = [Decision(f"kernel{i}", (1, 3, 5, 7, 9), {"layer": (i,)}) for i in layers]
    return tabular_space([Decision("layer", layers, {}), *own], name="alternatives")


def picked(rows: IntArray) -> np.ndarray:
    """A cost that grows with every pick."""
    return 1.0 + np.asarray(rows, dtype=np.float64).sum(axis=1)


def rugged(rows: IntArray) -> np.ndarray:
    """A loss that falls with the picks, more with some than with others, plus a pairwise part."""
    weights = 1 + np.sin(np.arange(rows.shape[1])) ** 2
    pairs = (rows[:, 1:] * rows[:, :-1]).sum(axis=1) / max(1, rows.shape[1])
    return 60 - 3 * rows @ weights - pairs


def problem_of(space: SearchSpace, **limits: float) -> Problem:
    """One goal: the loss against the number of picks."""
    return Problem(space, (Goal("device", {"picks": picked}, ("picks",), limits),))


def evaluated(genotypes: Sequence[Genotype]) -> list[Evaluation]:
    if not genotypes:
        return []
    rows = np.array(genotypes)
    return [
        Evaluation(genotype, {"error": float(loss), "picks": float(cost)}, 0, 0.0, "here")
        for genotype, loss, cost in zip(genotypes, rugged(rows), picked(rows), strict=True)
    ]


def one_by_one(genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
    """An evaluator."""
    for genotype in genotypes:
        yield evaluated([genotype])


def run(searcher: Searcher, *batches: int) -> list[Genotype]:
    """Everything proposed in batches of these sizes."""
    found: list[Genotype] = []
    for count in batches:
        asked = searcher.ask(count)
        searcher.tell(evaluated(asked))
        found += asked
    return found


def asynchronously(searcher: Searcher, *, evaluations: int, workers: int) -> list[Genotype]:
    """Everything proposed one by one, `workers` under way, of which a random one ends next."""
    rng = np.random.default_rng(0)
    found: list[Genotype] = []
    pending: list[Genotype] = []
    while len(found) < evaluations:
        asked = searcher.ask(1) if len(pending) < workers else []
        found, pending = found + asked, pending + asked
        if not asked:
            if not pending:
                break
            searcher.tell(evaluated([pending.pop(rng.integers(len(pending)))]))
    return found


class SearcherContract:
    """The tests of a searcher."""

    @pytest.fixture
    def make(self) -> MakeSearcher:
        raise NotImplementedError("give a function of a problem and a seed")

    @pytest.fixture
    def problem(self) -> Problem:
        return problem_of(chain(depth=5))

    def test_a_cost_that_only_evaluations_tell_is_used_or_refused_at_once(
        self, make: MakeSearcher
    ) -> None:
        measured = Goal("device", {"picks": Measured("picks")}, ("picks",), {"picks": 12.0})
        try:
            searcher = make(Problem(chain(depth=5), (measured,)), 0)
        except ValueError as error:
            assert "measured" in str(error)  # noqa: PT017  # some searchers are no case of this
        else:
            assert len(run(searcher, 4, 4, 4)) == 12

    def test_proposals_are_canonical_and_never_repeat(self, make, problem):
        found = run(make(problem, 0), 7, 1, 20, 3, 9)
        assert len(found) == 40
        assert len(set(found)) == 40
        assert all(problem.space.canonical(genotype) == genotype for genotype in found)
        assert all(type(pick) is int for genotype in found for pick in genotype)

    def test_same_seed_same_sequence_other_seed_another(self, make, problem):
        first = run(make(problem, 3), 12, 12, 12)
        assert run(make(problem, 3), 12, 12, 12) == first
        assert run(make(problem, 4), 12, 12, 12) != first

    def test_asking_without_telling_goes_on(self, make, problem):
        searcher = make(problem, 0)
        first = searcher.ask(10)
        searcher.tell(evaluated(first))
        waiting = [*searcher.ask(10), *searcher.ask(10), *searcher.ask(10)]
        assert len({*first, *waiting}) == 40

    def test_told_one_by_one_in_any_order_it_proposes_nothing_that_is_under_way(
        self, make, problem
    ):
        found = asynchronously(make(problem, 0), evaluations=18, workers=5)
        assert len(found) == len(set(found)) == 18
        assert all(problem.space.canonical(genotype) == genotype for genotype in found)

    def test_one_by_one_an_exhausted_space_ends_the_search(self, make):
        space = chain(depth=2, widths=(4,))
        found = asynchronously(make(problem_of(space), 0), evaluations=20, workers=5)
        assert len(found) == len(set(found)) == space.size == 12

    def test_what_others_evaluated_is_not_proposed(self, make, problem):
        searcher = make(problem, 0)
        others = [problem.space.sample(np.random.default_rng(seed)) for seed in range(30)]
        searcher.tell(evaluated(list(dict.fromkeys(others))))
        assert not set(others) & set(run(searcher, 15, 15))

    def test_an_exhausted_space_ends_the_search(self, make):
        space = chain(depth=2, widths=(4, 8))
        found = run(make(problem_of(space), 0), *[5] * 12)
        assert len(found) == len(set(found)) == space.size == 42
        assert run(make(problem_of(space), 0), 100, 5)[42:] == []

    @pytest.mark.parametrize("size", [1, 2, 3, 7])
    def test_a_space_smaller_than_a_batch_is_proposed_whole_and_then_nothing(self, make, size):
        problem = problem_of(widths(size))
        assert problem.space.size == size
        for batch in (5, 100):  # one by one it is asked below
            found = run(make(problem, 0), *[batch] * (size + 2))
            assert len(found) == len(set(found)) == size
        assert len(asynchronously(make(problem, 0), evaluations=20, workers=5)) == size

    def test_a_space_of_many_combinations_and_few_networks_is_searched_to_its_end(self, make):
        found = run(make(problem_of(alternatives(12)), 0), 100, 1)
        assert len(found) == len(set(found)) == 60

    @pytest.mark.parametrize("size", [1, 2, 3, 7])
    def test_of_a_space_that_others_evaluated_but_for_one_that_one_is_left(self, make, size):
        problem = problem_of(widths(size))
        every = [problem.space.canonical((pick,) * (size > 1)) for pick in range(size)]
        searcher = make(problem, 0)
        searcher.tell(evaluated(every[:-1]))
        assert run(searcher, 5, 5) == every[-1:]
        searcher = make(problem, 0)
        searcher.tell(evaluated(every))
        assert searcher.ask(5) == []

    def test_asking_for_nothing_gives_nothing(self, make, problem):
        assert make(problem, 0).ask(0) == []

    def test_in_a_search_what_it_proposes_is_archived_and_told(self, make, problem, tmp_path):
        archive = Archive(tmp_path / "archive.journal", problem.space, study="net")
        found = search(make(problem, 0), one_by_one, archive, budget=9, batch=4)
        assert found == archive.evaluations()
        assert len({one.genotype for one in found}) == 9

    def test_a_search_that_is_resumed_goes_on_as_if_it_had_not_ended(self, make, problem, tmp_path):
        whole, parts = (
            Archive(tmp_path / name, problem.space, study="net") for name in ("whole", "parts")
        )
        search(make(problem, 0), one_by_one, whole, budget=24, batch=8)
        search(make(problem, 0), one_by_one, parts, budget=13, batch=8)
        again = Archive(tmp_path / "parts", problem.space, study="net")
        search(make(problem, 0), one_by_one, again, budget=24, batch=8)
        assert again.evaluations() == whole.evaluations()
