"""Published tables by name, held against figures published with them."""

from __future__ import annotations

import csv
import gzip
import pickle

import numpy as np
import pytest

from benchmarks.tables import NAMES, ROOT, load
from nas.evaluation.evaluation import flat
from nas.tabular import Tabular, open_table, published

pytestmark = pytest.mark.skipif(
    not (ROOT / "search_tables").exists(), reason="the public tables are not here"
)


@pytest.fixture(scope="module")
def cells() -> Tabular:
    pytest.importorskip("pyarrow")
    return open_table("nasbench201", data=ROOT)


def test_nasbench201_has_its_optimum_and_eighteen_devices(cells: Tabular) -> None:
    assert (cells.rows, cells.space.size, cells.exhaustive) == (15_625, 15_625, True)
    every = cells.space.every_row()
    assert 100 - cells.loss(every).min() == pytest.approx(94.37, abs=0.005)
    assert len(cells.devices) == 18
    for costs in cells.devices.values():
        latency = costs["latency_ms"](every)
        assert len(np.unique(latency)) > 5
        assert latency.min() > 0


def test_nasbench201_has_its_published_example(cells: Tabular) -> None:
    parquet = pytest.importorskip("pyarrow.parquet")
    accuracy = parquet.read_table(ROOT / "nasbench201/accuracy.parquet").to_pylist()
    (first,) = (row for row in accuracy if row["arch_idx"] == 0)
    picks = {f"pick{edge}": first[f"op{edge}"] for edge in range(6)}
    genotype = np.array([cells.space.genotype(picks)])
    assert cells.devices["pixel3"]["latency_ms"](genotype) == pytest.approx(3.60585, abs=1e-5)
    assert cells.loss(genotype) == 100 - first["e200_cifar10_test_mean"]


@pytest.mark.parametrize(
    ("name", "path", "best", "first"),
    [
        ("nasbench-macro", "nasbench_macro/nasbench_macro_cifar10.csv.gz", 93.13, 0),
        ("channel-bench-resnet", "channel_bench_macro/resnet_cifar10.csv.gz", 93.89, 1),
    ],
)
def test_tables_of_digits_hold_every_row(name: str, path: str, best: float, first: int) -> None:
    table = open_table(name, data=ROOT)
    with gzip.open(ROOT / path, "rt") as file:
        lines = list(csv.DictReader(file))
    rows = np.array([[int(digit) - first for digit in line["arch"]] for line in lines])
    assert table.space.size == len(lines) == table.rows
    column = "mean_acc" if "mean_acc" in lines[0] else "mean"
    assert table.loss(rows).tolist() == [100 - float(line[column]) for line in lines]
    cost = table.devices[name]["mflops"](rows)
    assert cost == pytest.approx([float(line["flops"]) / 1e6 for line in lines])
    assert 100 - table.loss(rows).min() == pytest.approx(best, abs=0.005)


def test_accel_nasbench_says_what_it_predicts() -> None:
    pytest.importorskip("pyarrow")
    table = open_table("accel-nasbench", data=ROOT)
    assert (table.rows, table.repeats, table.exhaustive) == (5_125, 13, False)
    assert table.space.size == 36**6 * 48
    assert list(table.devices) == ["a100", "3090", "tpuv2", "tpuv3", "zcu102"]
    parquet = pytest.importorskip("pyarrow.parquet")
    path = ROOT / "accel_nasbench/accel_nasbench_imagenet.parquet"
    row = parquet.read_table(path).slice(17, 1).to_pylist()[0]
    fields = {"expansion": "e", "kernel": "k", "layers": "l", "squeeze_excite": "se"}
    picks = {f"block{b}.{n}": row[f"block{b}_{c}"] for b in range(7) for n, c in fields.items()}
    genotype = np.array([table.space.genotype(picks)])
    assert table.loss(genotype) == pytest.approx(100 - row["val_top1"])
    found = table.devices["a100"]["ms_per_image"](genotype)
    assert found == pytest.approx(1000 / row["throughput_a100_ips"])
    unknown = table.space.sample_array(np.random.default_rng(0), 50)
    assert ((table.loss(unknown) > 25) & (table.loss(unknown) < 65)).all()
    assert "5,125 rows" in table.loss.note


@pytest.mark.parametrize("name", ["mp-nasbench201", "ofa-note10"])
def test_tables_of_other_forms_travel_and_say_what_they_are(name: str) -> None:
    table = open_table(name, data=ROOT)
    genotypes = [table.space.smallest, table.space.largest]
    again = pickle.loads(pickle.dumps(table.evaluator().factory()))()
    assert flat(again(genotypes)) == flat(table.evaluator()(genotypes))
    assert "predicted" in table.loss.note


def test_the_problems_of_the_benchmarks_are_what_they_were() -> None:
    """Comparisons are made on these: their choices, options and order never change."""
    choices = {name: [made.name for made in load(name).problem.space.choices] for name in NAMES}
    for name in NAMES[:4]:
        assert choices[name] == [f"pick{edge}" for edge in range(6)]
    assert choices["nbmacro"] == [f"pick{layer}" for layer in range(8)]
    assert choices["channel_resnet"] == [f"pick{layer}" for layer in range(7)]
    assert choices["mp201_joint"][:4] == [
        *("edge0.operation", "edge0.bits"),
        *("edge1.operation", "edge1.bits"),
    ]
    assert choices["ofa_note10"][:5] == [
        *("stage0.block0.kernel", "stage0.block0.expand"),
        *("stage0.block1.kernel", "stage0.block1.expand"),
        "stage0.depth",
    ]
    assert set(published()) == {
        *("nasbench201", "nasbench-macro", "channel-bench-resnet", "accel-nasbench"),
        *("mp-nasbench201", "ofa-note10"),
    }
