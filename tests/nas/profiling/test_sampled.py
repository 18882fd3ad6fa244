"""A sample covers the kernels; what is predicted from it is as near as is stated, and marked."""

from __future__ import annotations

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest

from nas.profiling import profile
from nas.profiling.kernel_features import features
from nas.profiling.sampled import complete, sample
from nas.targets import TargetError
from nas.targets.numerics import Numerics, of_bits
from nas.targets.table.latency_table import LatencyTable
from nas.targets.table.rows import KernelKey, Row
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Add, Conv2d, DepthwiseConv2d
from tests.nas.profiling.kernels import FLOAT, INT8, RELU

CONVOLUTIONS = [
    (Kernel(Conv2d(out, window), (RELU,), ((channels, size, size),)), bits)
    for channels in (8, 16, 24, 40, 64)
    for out in (8, 16, 32, 48)
    for window in (1, 3, 5)
    for size in (4, 8, 16)
    for bits in (INT8, FLOAT)
]
KERNELS = CONVOLUTIONS + [
    (Kernel(DepthwiseConv2d(3), (), ((channels, 8, 8),)), FLOAT) for channels in range(8, 200, 8)
]


@dataclasses.dataclass(frozen=True)
class Roofline:
    """A backend whose kernels take what a roofline with a call's overhead says, and some noise."""

    name: str = "roofline"

    def conditions(self) -> dict[str, str]:
        return {"device": "paper", "runtime": "none", "threads": "1"}

    def refusal(self, kernel: Kernel, bits: Numerics) -> str | None:
        return None

    def measure(self, kernels: list[tuple[Kernel, Numerics]], *, budget_ms: float) -> list[Row]:
        return [Row(latency_ms(kernel, bits), 0.0, 5) for kernel, bits in kernels]


def latency_ms(kernel: Kernel, bits: Numerics) -> float:
    moved = sum(map(np.prod, (*kernel.inputs, kernel.output)))
    work = max(kernel.macs / 2e7 * bits.activation_bits / 32, moved / 1e6)
    noise = np.random.default_rng(kernel.macs % 1009 + kernel.output[0]).normal(1, 0.02)
    return float((0.001 + work) * noise)


def test_a_sample_covers_operators_widths_and_sizes() -> None:
    chosen = sample(KERNELS, 60)
    assert len(chosen) == len({KernelKey.of(*one) for one in chosen})
    assert 58 <= len(chosen) <= 62
    assert chosen == sample(KERNELS, 60)
    for kind, bits in ((Conv2d, INT8), (Conv2d, FLOAT), (DepthwiseConv2d, FLOAT)):
        macs = [k.macs for k, b in KERNELS if isinstance(k.op, kind) and b == bits]
        taken = [k.macs for k, b in chosen if isinstance(k.op, kind) and b == bits]
        assert len(taken) >= 6
        assert min(taken) <= np.quantile(macs, 0.1)
        assert max(taken) >= np.quantile(macs, 0.9)
        assert np.median(taken) == pytest.approx(np.median(macs), rel=1)


def test_a_sample_of_all_is_all() -> None:
    chosen = {KernelKey.of(*one) for one in sample(KERNELS, 10**6)}
    assert chosen == {KernelKey.of(*one) for one in KERNELS}


def test_a_sample_that_is_too_small_is_refused() -> None:
    with pytest.raises(TargetError, match="too small for 3 operators and formats; take 18 or more"):
        sample(KERNELS, 17)


def test_what_is_predicted_is_as_near_as_stated_and_marked(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    profile(sample(KERNELS, 130), path=path, backend=Roofline())
    table = complete(path, KERNELS)
    assert set(table.rows) == {KernelKey.of(*one) for one in KERNELS}
    assert LatencyTable.read(path).rows == table.rows
    guessed = {key for key, row in table.rows.items() if row.count == 0}
    assert len(guessed) == pytest.approx(len(KERNELS) - 130, abs=4)
    pairs = [
        (table.rows[k].latency_ms, latency_ms(*one))
        for one in KERNELS
        if (k := KernelKey.of(*one)) in guessed
    ]
    errors = [abs(predicted / true - 1) for predicted, true in pairs]
    stated = [
        float(text) / 100 for text in re.findall(r"([\d.]+)% median", table.notes["predicted"])
    ]
    assert len(stated) == 3
    assert np.median(errors) < 0.1
    assert np.median(errors) < 3 * max(stated)
    assert all(row.spread_ms > 0 for row in table.rows.values() if row.count == 0)


def test_measuring_goes_on_where_rows_were_predicted(tmp_path: Path) -> None:
    path = tmp_path / "t.csv"
    profile(sample(KERNELS, 60), path=path, backend=Roofline())
    complete(path, KERNELS)
    more = sample(KERNELS, 100)
    table = profile(more, path=path, backend=Roofline())
    assert all(row.count for row in table.rows.values())
    assert "predicted" not in table.notes
    assert {KernelKey.of(*one) for one in more} <= set(table.rows)
    whole = profile(KERNELS, path=path, backend=Roofline())
    assert complete(path, KERNELS).rows == whole.rows


def test_too_few_measured_kernels_predict_nothing(tmp_path: Path) -> None:
    profile(CONVOLUTIONS[:4], path=tmp_path / "t.csv", backend=Roofline())
    with pytest.raises(TargetError, match="Conv2d at int8xint8 were measured, a model takes 6"):
        complete(tmp_path / "t.csv", CONVOLUTIONS)


def test_features_are_finite_and_tell_kernels_apart() -> None:
    image = (8, 4, 4)
    kernels = [
        (Kernel(Add(), fused, (image, image)), of_bits(None, 8))
        for fused in ((), (RELU,), (Activation("hardswish"),))
    ]
    described = features(kernels)
    assert np.isfinite(described).all()
    assert len(np.unique(described, axis=0)) == 3
