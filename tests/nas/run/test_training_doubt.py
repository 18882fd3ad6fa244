"""A training that ends as good as a guess is told, without being stopped."""

from __future__ import annotations

import numpy as np
import pytest

from nas.run.steps.training import _doubt
from supernets.training.train import History


@pytest.mark.parametrize(("last", "told"), [(2.3, True), (2.27, True), (2.2, False), (0.1, False)])
@pytest.mark.parametrize("steps", [1, 7, 500])
def test_an_end_as_good_as_a_guess_is_told(last: float, told: bool, steps: int) -> None:
    losses = np.full((steps, 3), 9.0, dtype=np.float32)
    losses[-max(1, steps // 5) :, 0] = last
    said = _doubt(History(losses, float_steps=0, guess=2.3))
    assert (said is not None) is told
    assert said is None or "2.3" in said
