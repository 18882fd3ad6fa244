"""Every shipped rewrite keeps the contract of rewrites."""

import pytest

from nas.evaluation.rewrites import makers
from nas.testing.rewrite import RewriteContract


class _ByName(RewriteContract):
    name: str

    @pytest.fixture
    def maker(self):
        return makers([self.name])[0]


class TestRanges(_ByName):
    name = "ranges"


class TestPercentileRanges(_ByName):
    name = "percentile-ranges"


class TestNearest(_ByName):
    name = "nearest"


class TestNearestInRange(_ByName):
    name = "nearest-in-range"


class TestRoundBiases(_ByName):
    name = "round-biases"
    before = makers(["ranges", "nearest"])
