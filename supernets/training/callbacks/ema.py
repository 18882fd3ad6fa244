"""The exponential average of the parameters."""

from __future__ import annotations

from supernets.training.callbacks.average import Average
from supernets.training.context import Moment

_DECAY = 0.999
_YOUNG = 9


class ExponentialAverage(Average):
    """The exponential average of all parameters since the start of the last phase.

    The first of the averages is the parameters after the first step of a phase. After `n` more
    steps, an average keeps the share `min(0.999, n / (n + 9))` of itself, which is the rise of
    TensorFlow's `ExponentialMovingAverage` with `num_updates`, where `(1 + n) / (10 + n)` counts
    from the second step. The average of a short training is thus a tenth of its steps old, and no
    parameter from before the training, and no step from before its calibration, has a weight in the
    average. The averages of the quantized phase do not remember the float phase.

    Polyak & Juditsky 1992; the decay is a common choice for small networks.
    """

    def after_update(self, moment: Moment) -> None:
        done = moment.step - (moment.plan.float_steps if moment.quantized else 0)
        self.move(1 - min(_DECAY, done / (done + _YOUNG)))
