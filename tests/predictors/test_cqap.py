import numpy as np
import pytest
import torch

from nas.testing.predictor import PredictorContract
from predictors.cqap import Cqap, CqapNetworks
from predictors.features import OneHot


class TestCqap(PredictorContract):
    @pytest.fixture
    def predictor(self, space):
        return Cqap(OneHot(space), steps=50)


def test_each_network_is_two_hidden_layers_and_a_linear_map():
    networks = CqapNetworks(2, 3, torch.Generator().manual_seed(0))
    with torch.no_grad():
        for held in networks.parameters():
            held.normal_(generator=torch.Generator().manual_seed(1))
        X = torch.eye(3)
        found = networks(X)
        for model in range(2):
            own = {name: held[model] for name, held in networks.named_parameters()}
            hidden = (X @ own["first"] + own["first_shift"]).clamp(min=0)
            hidden = (hidden @ own["second"] + own["second_shift"]).clamp(min=0)
            expected = hidden @ own["last"] + own["last_shift"] + X @ own["linear"]
            np.testing.assert_allclose(found[model], expected[:, 0], rtol=1e-4, atol=1e-4)
