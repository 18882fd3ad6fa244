"""What is left of foreign figures, and what is said about them."""

from __future__ import annotations

import math

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from nas.targets import TargetError
from nas.targets.adapters.adapter import added, convolution, depthwise
from nas.targets.adapters.collect import collect
from nas.targets.adapters.imported import Entry, Sample, Unmapped
from nas.targets.numerics import Numerics, of_bits
from search_spaces.graph import Graph
from search_spaces.kernels import Fusion, kernels
from search_spaces.ops import Activation, Add, BatchNorm2d, Conv2d, Input

EIGHT = of_bits(8, 8)


def entry(out: int, latency_ms: float, spread_ms: float = 0.0, **more) -> Entry:
    kernel = convolution(16, 14, out, kernel=1, stride=1, function="relu")
    axes = {"out": out}
    return Entry(f"out {out}", kernel, EIGHT, latency_ms, spread_ms, axes=axes, **more)


def kinds(*items: Entry) -> set[str]:
    return {finding.kind for finding in collect("file", items).findings}


figures = st.one_of(st.floats(), st.floats(0, 10), st.sampled_from([-1.0, 0.0, 1e8, math.nan]))


@given(latencies=st.lists(figures, min_size=1, max_size=12), spread=figures)
@example(latencies=[1.0, 2e-309], spread=0.0)
def test_every_entry_becomes_a_row_or_has_a_reason(latencies: list[float], spread: float) -> None:
    items = [entry(8 * (n + 1), ms, spread) for n, ms in enumerate(latencies)]
    if not any(0 <= item.latency_ms <= 1e7 and 0 <= spread <= 1e7 for item in items):
        with pytest.raises(TargetError, match="holds nothing"):
            collect("file", items)
        return
    found = collect("file", items)
    assert len(found.rows) + len(found.unmapped) == len(items)
    for row in found.rows.values():
        assert 0 <= row.latency_ms <= 1e7
        assert 0 <= row.spread_ms <= 1e7


def test_repeated_kernels_are_pooled_with_their_spread() -> None:
    found = collect("file", [entry(8, 1.0, 0.1, count=10), entry(8, 2.0, 0.1, count=30)])
    (row,) = found.rows.values()
    assert (row.latency_ms, row.count) == (1.75, 40)
    assert row.spread_ms == pytest.approx(math.sqrt(0.01 + 3 / 16))
    assert [finding.kind for finding in found.findings][:2] == ["repeated", "differing"]


@pytest.mark.parametrize(
    ("items", "kind"),
    [
        ((entry(8, 1.0), entry(16, -1.0)), "negative"),
        ((entry(8, 1.0), entry(16, math.nan)), "missing"),
        ((entry(8, 1.0), entry(16, math.inf)), "infinite"),
        ((entry(8, 1.0), entry(16, 1e9)), "beyond"),
        ((entry(8, 0.0), entry(16, 1.0)), "zero"),
        ((entry(8, 1e-9), entry(16, 1e-9)), "units"),
        ((entry(8, 1e5), entry(16, 1e6)), "units"),
        ((entry(8, 1.0, 0.2), entry(16, 1.0)), "spread"),
        ((entry(8, 1.0, energy_mj=1.0), entry(16, 1.0)), "energy"),
    ],
)
def test_odd_figures_are_named(items: tuple[Entry, ...], kind: str) -> None:
    assert kind in kinds(*items)


def test_a_larger_kernel_that_is_faster_is_named() -> None:
    def windowed(kernel: int, bits: Numerics, latency_ms: float) -> Entry:
        made = depthwise(16, 14, kernel=kernel, stride=1, function="relu")
        axes = {"kernel": kernel, "bits": bits.product}
        return Entry(f"k{kernel} {bits}", made, bits, latency_ms, axes=axes)

    rising = [windowed(3, EIGHT, 1.0), windowed(5, EIGHT, 1.2), windowed(3, of_bits(4, 4), 0.5)]
    assert kinds(*rising) == set()
    assert "not monotone" in kinds(*rising, windowed(7, EIGHT, 1.0))
    assert "not monotone" in kinds(*rising, windowed(5, of_bits(4, 4), 0.4))


def test_nothing_mapped_is_an_error_with_the_reasons() -> None:
    with pytest.raises(TargetError, match=r"file holds nothing.*of another kind"):
        collect("file", [Unmapped("row 1", "of another kind")])


def test_a_sample_without_a_figure_is_not_a_sample() -> None:
    found = collect("file", [Sample("a", {"x": 1.0}, 2.0), Sample("b", {"x": 1.0}, math.nan)])
    assert len(found.samples) == 1
    assert found.unmapped[0].reason == "its latency is missing (NaN)"


def test_an_addition_behind_a_projection_is_the_kernel_that_a_graph_has() -> None:
    graph = Graph(Input("image", (24, 8, 8)))
    graph.add("wide", Conv2d(96, 1))
    graph.add("project", Conv2d(24, 1))
    graph.add("norm", BatchNorm2d())
    graph.add("add", Add(), "norm", "input")
    graph.add("relu", Activation("relu"))
    fusion = Fusion(chains=((Conv2d, BatchNorm2d, Add, Activation),))
    *_, (_, kernel) = kernels(graph, fusion)
    alone = convolution(96, 8, 24, kernel=1, stride=1, function=None)
    assert added(alone, "relu") == kernel
