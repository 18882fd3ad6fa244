"""Every shipped sampler keeps the contract of samplers."""

import pytest

from nas.parts import Parts
from nas.testing.sampler import SamplerContract


class TestShippedSamplers(SamplerContract):
    @pytest.fixture(params=list(Parts("sampler")))
    def make(self, request):
        return Parts("sampler")[request.param]
