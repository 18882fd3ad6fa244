"""The contract of a search space: give `space` as a fixture and inherit every test."""

import itertools
import pickle

import numpy as np
import pytest

from search_spaces import costs
from search_spaces.choice import choices_in
from search_spaces.kernels import Fusion, kernels
from search_spaces.ops import Activation, Add, BatchNorm2d, Conv2d
from search_spaces.space import InvalidGenotype, SearchSpace, as_genotypes

CHAINS = Fusion(((Conv2d, BatchNorm2d, Activation), (Conv2d, BatchNorm2d, Add)))


class SpaceContract:
    """The tests of a search space."""

    @pytest.fixture
    def space(self) -> SearchSpace:
        raise NotImplementedError("give the space under test")

    @pytest.fixture
    def genotypes(self, space: SearchSpace) -> np.ndarray:
        return space.sample_array(np.random.default_rng(7), 200)

    def test_json_gives_the_same_space_back(self, space):
        again = SearchSpace.from_json(space.to_json())
        assert again == space
        assert again.fingerprint == space.fingerprint
        assert pickle.loads(pickle.dumps(space)) == space

    def test_samples_are_canonical_and_valid(self, space, genotypes):
        assert (space.canonical_array(genotypes) == genotypes).all()
        assert all(space.validate(g) == g for g in as_genotypes(genotypes))

    def test_canonical_is_idempotent_and_keeps_the_network(self, space):
        rng = np.random.default_rng(3)
        for row in rng.integers(0, space.counts, size=(50, len(space.counts))):
            raw = tuple(row.tolist())
            made = space.canonical(raw)
            assert space.canonical(made) == made
            assert space.decode(raw) == space.decode(made)

    def test_an_open_choice_changes_the_network_and_a_closed_one_does_not(self, space, genotypes):
        for genotype in as_genotypes(genotypes[:20]):
            network = space.decode(genotype)
            for column, is_open in enumerate(space.active(genotype)):
                count = int(space.counts[column])
                other = list(genotype)
                other[column] = (other[column] + 1) % count
                assert (space.decode(other) != network) == is_open, space.choices[column].name

    def test_description_gives_the_genotype_back(self, space, genotypes):
        for genotype in as_genotypes(genotypes[:50]):
            assert space.genotype(space.describe(genotype)) == genotype

    def test_a_resolved_network_has_no_choices_and_has_shapes(self, space, genotypes):
        for genotype in as_genotypes(genotypes[:20]):
            graph = space.decode(genotype)
            assert not [c for node in graph.nodes.values() for c in choices_in(node.op)]
            assert len(graph.shapes()) == len(graph.nodes)

    @pytest.mark.parametrize(
        "cost", [costs.macs, costs.bitops, costs.model_bytes, costs.parameters]
    )
    def test_compiled_cost_equals_the_sum_over_each_network(self, space, genotypes, cost):
        compiled = costs.compile_cost(space, cost)(genotypes)
        walked = [costs.total(cost, space.decode(g)) for g in as_genotypes(genotypes)]
        assert compiled.tolist() == walked

    def test_a_population_has_the_fused_kernels_of_each_network(self, space, genotypes):
        made = costs.SpaceKernels(space, CHAINS)
        number = {kernel: float(place) for place, kernel in enumerate(made.distinct(), 1)}
        compiled = made.compile(lambda kernel: number[kernel] * costs.bitops(kernel))(
            genotypes[:40]
        )
        walked = [
            costs.total(lambda k: number[k] * costs.bitops(k), space.decode(g), CHAINS)
            for g in as_genotypes(genotypes[:40])
        ]
        assert compiled.tolist() == walked

    def test_every_kernel_of_a_network_is_a_kernel_of_the_space(self, space, genotypes):
        known = set(costs.SpaceKernels(space).distinct())
        for genotype in as_genotypes(genotypes[:20]):
            assert {kernel for _, kernel in kernels(space.decode(genotype))} <= known

    def test_smallest_and_largest_bound_every_cost(self, space, genotypes):
        for cost in (costs.macs, costs.bitops, costs.model_bytes):
            compiled = costs.compile_cost(space, cost)
            low, high = compiled(np.array([space.smallest, space.largest]))
            assert (low <= compiled(genotypes)).all()
            assert (compiled(genotypes) <= high).all()

    def test_genotypes_outside_are_refused_by_name(self, space):
        beyond = [*space.smallest[:-1], int(space.counts[-1])]
        with pytest.raises(InvalidGenotype, match=space.choices[-1].name.replace(".", r"\.")):
            space.decode(beyond)
        with pytest.raises(InvalidGenotype, match="entries"):
            space.decode(space.smallest[:-1])

    def test_size_is_at_least_the_distinct_samples(self, space, genotypes):
        assert space.size >= len(set(as_genotypes(genotypes)))


def count_by_enumeration(space: SearchSpace) -> int:
    """The number of distinct networks of a small space, one by one."""
    every = itertools.product(*(range(count) for count in space.counts))
    return len({space.canonical(genotype) for genotype in every})
