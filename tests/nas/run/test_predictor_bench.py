"""Judging predictors on tables and on the archive of a run."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from nas.run.folder import RunFolderError
from nas.run.predictor_bench import Networks, bench, networks_of
from nas.testing.predictor import loss_of
from nas.testing.searcher import chain, picked
from tests.nas.runs import assert_refused, nas, succeeded

SPARSE = """
files = ["nets.csv"]
missing = "extra-trees"

[choices]
depth = [1, 2, 3, 4]
width = [8, 16, 32, 64]
kernel = [3, 5, 7]

[loss]
column = "error"

[devices.phone]
latency_ms = "ms"
"""


@pytest.fixture(scope="module")
def networks() -> Networks:
    space = chain(depth=4)
    rows = np.unique(space.sample_array(np.random.default_rng(0), 150), axis=0)
    return Networks(space, rows, loss_of(rows), {"picks": picked(rows)})


def table(folder: Path, rows: int) -> Path:
    every = [*itertools.product((1, 2, 3, 4), (8, 16, 32, 64), (3, 5, 7))]
    lines = [f"{d},{w},{k},{99 - d * np.log(w) - k},{d * w * k}" for d, w, k in every[:rows]]
    (folder / "nets.csv").write_text("\n".join(["depth,width,kernel,error,ms", *lines]))
    (folder / "nets.toml").write_text(SPARSE)
    return folder / "nets.toml"


def test_every_cost_and_every_predictor_has_its_rows(networks):
    rows = list(bench(networks, ["ridge", "pairs"], sizes=(20, 60), seeds=(0, 1)))
    assert [(row.name, row.size) for row in rows] == [
        *(("picks", 0), ("ridge", 20), ("ridge", 60), ("pairs", 20), ("pairs", 60)),
    ]
    taus = {(row.name, row.size): row.judgement.tau for row in rows}
    assert taus["ridge", 60] > taus["ridge", 20]
    assert taus["ridge", 60] > taus["picks", 0]


def test_only_rows_of_a_sparse_table_are_judged(tmp_path):
    found = networks_of(str(table(tmp_path, 40)))
    assert len(found.rows) == 40
    np.testing.assert_allclose(
        sorted(found.losses),
        sorted(
            99 - d * np.log(w) - k
            for d, w, k in [*itertools.product((1, 2, 3, 4), (8, 16, 32, 64), (3, 5, 7))][:40]
        ),
    )
    assert list(found.costs) == ["phone.latency_ms"]


def test_sizes_leave_networks_to_judge(networks):
    total = len(networks.rows)
    assert list(networks.sizes()) == [25, 50, 100]
    assert networks.sizes((7,)) == (7,)
    with pytest.raises(RunFolderError, match=f"sizes from 1 to {total - 10}"):
        networks.sizes((total,))


def test_the_command_prints_a_row_each_and_refuses_what_is_not_there(tmp_path):
    description = table(tmp_path, 48)
    told = nas("predictors", "bench", description, "--predictor", "ridge", "--size", "20")
    succeeded(told)
    assert "phone.latency_ms" in told.out
    assert "ridge" in told.out
    assert_refused(nas("predictors", "bench", tmp_path / "none"), "there is no table")
    assert_refused(
        nas("predictors", "bench", description, "--predictor", "rigde"), "no predictor 'rigde'"
    )
    assert_refused(nas("predictors", "bench", description, "--size", "45"), "sizes from 1 to 38")
