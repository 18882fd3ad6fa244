"""Blocks of a tensor as rows."""

import itertools

import numpy as np
import torch

from supernets.blocks import from_rows, to_rows

SHAPE = (4, 2, 6, 3)


def test_rows_are_the_blocks_in_their_order():
    x = torch.arange(144).reshape(SHAPE)
    for blocks in itertools.product((1, 2, 4), (1, 2), (1, 3, 6), (1, 3)):
        starts = itertools.product(*(range(0, n, b) for n, b in zip(SHAPE, blocks, strict=True)))
        parts = [
            x[tuple(slice(s, s + b) for s, b in zip(start, blocks, strict=True))].flatten()
            for start in starts
        ]
        rows = to_rows(x, blocks)
        assert np.array_equal(rows, torch.stack(parts))
        assert torch.equal(from_rows(rows, SHAPE, blocks), x)


def test_rows_of_channels_are_a_view():
    x = torch.zeros(4, 2, 3, 3)
    to_rows(x, (1, 2, 3, 3))[2] = 1.0
    assert x[2].eq(1).all()
    assert x.sum() == 18
