"""Policies of a user's network are measured here and in other processes alike."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import nn

import nas
from nas.api.judging import Judge
from nas.evaluation.evaluation import Evaluation
from nas.evaluation.rewrites import DEFAULT
from nas.facts.metric import MetricWords
from nas.own.distance import Distance
from nas.own.evaluator import PolicyEvaluator
from nas.own.judging import CriterionJudge, Part
from nas.own.network import traced
from nas.own.remembering import Remembering, resolved
from nas.own.samples import Samples
from nas.tasks.criteria import Classification
from nas.testing.evaluator import EvaluatorContract
from search_spaces.opening import Opening, opened
from search_spaces.space import SearchSpace
from tests.nas.local_ray import local_ray


@pytest.fixture(scope="module")
def network():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(2, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(64, 3))
    parts = [Samples((), (torch.randn(12, 2, 6, 6),)) for _ in range(3)]
    return traced(body.eval(), *parts, rewrites=DEFAULT)


@pytest.fixture(scope="module")
def policies(network):
    return SearchSpace(opened(network.graph, Opening()))


@pytest.fixture(scope="module")
def deployment(network, policies):
    return network.deployment(policies)


class TestPoliciesByTheirTask(EvaluatorContract):
    @pytest.fixture
    def space(self, policies):
        return policies

    @pytest.fixture
    def evaluator(self, network, deployment):
        parts = [Part(one, torch.arange(12) % 3) for one in network.judging]
        judge = CriterionJudge(network.calling, Classification(), *parts)
        return PolicyEvaluator(deployment, judge, seed=0)


class TestPoliciesByAFunctionOfTheUser(EvaluatorContract):
    @pytest.fixture
    def space(self, policies):
        return policies

    @pytest.fixture
    def evaluator(self, network, deployment):
        images = torch.randn(8, 2, 6, 6)
        distances = [Distance(network.model, one) for one in network.judging]
        words = MetricWords("score", best=100)
        judge = Judge(
            network.calling, words, *distances, evaluate=lambda net: net(images).std().item()
        )
        return PolicyEvaluator(deployment, judge, seed=0)


def test_only_scores_of_classes_may_differ_without_another_answer(network):
    seen = network.judging[0]
    image, number = nn.Conv2d(2, 2, 3), nn.Sequential(nn.Flatten(), nn.Linear(72, 1))
    assert Distance(network.model, seen).alike > 0
    assert [Distance(model, seen).alike for model in (image, number)] == [0, 0]


def test_what_is_known_is_not_measured_and_all_else_is_taken_when_its_turn_comes(policies):
    wanted, taken = [policies.smallest, policies.largest], []

    def measure(genotypes):
        for genotype in genotypes:
            taken.append(genotype)
            yield [Evaluation(genotype, {"error": 1.0}, 0, 0.0, "here")]

    known = {
        resolved(policies, policies.smallest): Evaluation((9,), {"error": 5.0}, 0, 0.0, "there")
    }
    found = [one for each in Remembering(measure, policies, known)(wanted) for one in each]
    assert [(one.genotype, one.error) for one in found] == [
        (policies.smallest, 5.0),
        (policies.largest, 1.0),
    ]
    assert taken == [policies.largest]


@pytest.mark.ray
@pytest.mark.slow
def test_workers_find_the_same_policies_although_one_is_killed(network):
    killed = []

    def kill(found, _):
        if not killed:
            _, process, _ = found.measured.evaluations[0].where.split(":")
            os.kill(int(process), signal.SIGKILL)
            killed.append(process)

    images = torch.cat([network.calibration.tensors[0], *(j.tensors[0] for j in network.judging)])
    how = {"calibration": images, "targets": "edge-npu", "budget": 12, "batch": 4}
    here = nas.fit(network.model, **how)
    with local_ray(2):
        there = nas.fit(network.model, workers=2, callbacks=[kill], **how)
    assert killed
    assert {one.where for one in there.measured.evaluations} != {
        one.where for one in here.measured.evaluations
    }
    assert figures(there) == figures(here)
    assert there.best().verdict == here.best().verdict


def figures(found):
    return {one.genotype: one.metrics for one in found.measured.evaluations}
