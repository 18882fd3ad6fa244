"""Every shipped rewrite keeps the contract of rewrites."""

from functools import partial

import pytest

from nas.evaluation.rewrites import makers
from nas.testing.rewrite import RewriteContract
from supernets.post_training.layerwise import adaround


class _ByName(RewriteContract):
    name: str

    @pytest.fixture
    def maker(self):
        return makers([self.name])[0]


class TestRanges(_ByName):
    name = "ranges"


class TestPercentileRanges(_ByName):
    name = "percentile-ranges"


class TestSharedRanges(_ByName):
    name = "shared-ranges"


class TestNearest(_ByName):
    name = "nearest"


class TestNearestInRange(_ByName):
    name = "nearest-in-range"


class TestNormRepair(_ByName):
    name = "norm-repair"
    before = makers(["ranges", "nearest"])


class TestBiasCorrection(_ByName):
    name = "bias-correction"
    before = makers(["ranges", "nearest"])


class TestRoundBiases(_ByName):
    name = "round-biases"
    before = makers(["ranges", "nearest"])


class TestEqualize(_ByName):
    name = "equalize"


class TestSmooth(_ByName):
    name = "smooth"


class TestAwq(_ByName):
    name = "awq"


class TestGptq(_ByName):
    name = "gptq"
    before = makers(["ranges"])


class TestAdaQuant(_ByName):
    name = "adaquant"
    before = makers(["ranges"])


class TestAdaRound(RewriteContract):
    before = makers(["ranges"])

    @pytest.fixture
    def maker(self):
        return partial(adaround, rounds=5)
