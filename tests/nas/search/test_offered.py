"""Networks that others found are proposed first, and once."""

import pytest

from nas.search.offered import Offered
from nas.search.random import RandomSearch
from nas.testing.searcher import SearcherContract, chain, evaluated, problem_of, run, widths


def offered(problem, seed=0):
    first = [problem.space.largest, problem.space.smallest]
    return Offered(RandomSearch(problem.space, seed=seed, metric="error"), first)


class TestOffered(SearcherContract):
    @pytest.fixture
    def make(self):
        return offered


def test_the_given_networks_come_first_and_then_those_of_the_searcher():
    problem = problem_of(chain(depth=5))
    first = [problem.space.largest, problem.space.smallest]
    assert run(offered(problem), 1, 1, 4)[:2] == first
    alone = RandomSearch(problem.space, seed=0, metric="error")
    alone.tell(evaluated(first))
    assert run(offered(problem), 2, 4, 4)[2:] == run(alone, 4, 4)


def test_a_network_that_is_known_or_given_twice_is_not_proposed_again():
    problem = problem_of(widths(3))
    searcher = Offered(RandomSearch(problem.space, seed=0, metric="error"), [(1,), (1,), (2,)])
    searcher.tell(evaluated([(2,)]))
    assert run(searcher, 3, 3) == [(1,), (0,)]
