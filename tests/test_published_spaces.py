"""The spaces of published tables: every network has the operations that its table gives."""

import numpy as np
import pytest

from benchmarks.published_spaces import channel_bench_resnet, nasbench_macro
from nas.tabular.columns import read_files
from search_spaces.costs import compile_cost, macs
from tests.shared_data import shared_data


@pytest.mark.parametrize(
    ("space", "path", "first"),
    [
        (nasbench_macro(), "nasbench_macro/nasbench_macro_cifar10.csv.gz", 0),
        (channel_bench_resnet(), "channel_bench_macro/resnet_cifar10.csv.gz", 1),
    ],
)
def test_the_macs_of_every_network_are_those_of_the_table(space, path, first):
    columns = read_files([shared_data(path)], None)
    digits = np.array([[int(digit) for digit in str(arch)] for arch in columns["arch"]])
    assert len(digits) == space.size
    published = [float(str(operations)) for operations in columns["flops"]]
    assert compile_cost(space, macs)(digits - first).tolist() == published


def test_the_ends_of_both_spaces_have_the_published_macs():
    # As published: archs 00000000, 22222222, 1111111 and 4444444.
    for space, least, most in (
        (nasbench_macro(), 7713280, 105660928),
        (channel_bench_resnet(), 90096896, 1436226560),
    ):
        ends = np.array([space.smallest, space.largest])
        assert compile_cost(space, macs)(ends).tolist() == [least, most]
