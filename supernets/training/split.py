"""The split of a number of epochs into full precision and quantization.

The law is fitted to language models that were trained from scratch for one precision of their
weights ("Compute-Optimal Quantization-Aware Training", 757 trainings of 86 million to 2.2 billion
parameters). That the law holds for images, or for a supernet, is a hypothesis.
"""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np

from search_spaces.costs import compile_cost, model_bytes
from search_spaces.space import SearchSpace
from supernets.training.schedule import TrainingSettings

_FITTED = 6.7297  # the law's one constant


def quantized_share(samples_per_byte: float) -> float:
    """The share of all samples that quantized training should see, 0 to below 1.

    The law is `exp(ln S - a / ln S) / S` with `a` = 6.7297, which is `exp(-a / ln S)`. For 1 sample
    per byte or fewer, the share is 0, the limit of the law.

    Args:
        samples_per_byte: `S`, the number of samples of the whole training, repetitions included,
            per byte of the network's parameters; tokens in the source.
    """
    if samples_per_byte <= 1:
        return 0.0
    return math.exp(-_FITTED / math.log(samples_per_byte))


def split(settings: TrainingSettings, space: SearchSpace, *, samples: int) -> TrainingSettings:
    """The settings with `epochs`, if given, split into `float_epochs` and `quantized_epochs`.

    The bytes are those of the smallest subnet, which needs the longest quantized training. At least
    one epoch is quantized.

    Args:
        settings: The settings.
        space: The space of the supernet.
        samples: The number of training samples, each of which is seen once per epoch.
    """
    if settings.epochs is None:
        return settings
    size = float(compile_cost(space, model_bytes)(np.array([space.smallest]))[0])
    share = quantized_share(settings.epochs * samples / size)
    quantized = max(1, round(share * settings.epochs))
    return replace(
        settings,
        epochs=None,
        float_epochs=settings.epochs - quantized,
        quantized_epochs=quantized,
    )
