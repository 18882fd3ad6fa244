"""Workers of `nas.search` measure what this process would."""

import pytest

import nas
from tests.nas.api.toys import objective, toy_space
from tests.nas.local_ray import local_ray


@pytest.fixture(scope="module")
def ray():
    with local_ray(2) as made:
        yield made


def flawed(picks):
    if picks["width"] == 8:
        raise ValueError("too narrow")
    return objective(picks)


@pytest.mark.ray
@pytest.mark.usefixtures("ray")
@pytest.mark.slow
def test_workers_find_the_same_networks_and_keep_failures():
    how = {"objectives": "size", "budget": 12, "batch": 4, "failed": {"error": 99, "size": 1}}
    here = nas.search(toy_space(), flawed, **how)
    there = nas.search(toy_space(), flawed, workers=2, **how)
    assert there.front().equals(here.front())
    assert there.failures == here.failures
    at_once = nas.search(toy_space(), flawed, workers=2, asynchronous=True, **how)
    assert len(at_once) == 12
