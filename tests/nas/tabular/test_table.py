"""A table is a space like any, with an evaluator like any and costs like any."""

from __future__ import annotations

import gzip
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nas.archive.archive import Archive
from nas.evaluation.evaluation import EvaluationError, flat
from nas.facts.metric import MetricWords
from nas.search.guided import Guided
from nas.search.loop import search
from nas.search.named import searcher_named
from nas.tabular import Tabular, load_table
from nas.tabular.figures import Places
from nas.testing.searcher import SearcherContract, problem_of
from nas.testing.space import SpaceContract, count_by_enumeration
from search_spaces.tabular import Decision, tabular_space
from tests.nas.tabular.made import DESCRIPTION, EXAMPLE, networks, write


@pytest.fixture(scope="module")
def table(tmp_path_factory: pytest.TempPathFactory) -> Tabular:
    return load_table(write(tmp_path_factory.mktemp("table"), list(networks())))


def nested() -> list[Decision]:
    """As many layers as picked, each with a kernel and a width; the last kernel decides more."""
    layers = [
        Decision(f"layer{i}.{kind}", (1, 2, 3), {"depth": tuple(range(i + 1, 6))} if i else {})
        for i in range(5)
        for kind in ("width", "kernel")
    ]
    return [Decision("depth", (1, 2, 3, 4, 5), {}), *layers]


class TestTabularSpace(SpaceContract):
    @pytest.fixture
    def space(self):
        deeper = Decision("deeper", (False, True), {"layer4.kernel": (2, 3), "layer0.width": (1,)})
        return tabular_space([*nested(), deeper], name="nested")

    def test_its_size_is_exact(self):
        few = [*nested()[:5], Decision("more", ("x", "y"), {"layer1.kernel": (3,)})]
        space = tabular_space(few, name="few")
        assert space.size == count_by_enumeration(space)


class TestGuidedOnATable(SearcherContract):
    @pytest.fixture
    def make(self):
        return lambda problem, seed: Guided(problem, seed=seed)

    @pytest.fixture
    def problem(self):
        return problem_of(tabular_space(nested(), name="nested"))


def test_the_table_is_as_it_was_written(table: Tabular) -> None:
    written = list(networks())
    assert table.space.size == len(written) == table.rows == 9
    assert table.exhaustive
    for row in written:
        picks = {name: row[name] for name in ("depth", "width", "late") if row[name]}
        genotype = np.array([table.space.genotype(picks)])
        assert table.loss(genotype) == 100 - float(str(row["accuracy"]))
        phone, server = (table.devices[name]["latency_ms"] for name in ("phone", "server"))
        assert phone(genotype) == row["phone_ms"]
        assert server(genotype) == pytest.approx(1000 / float(str(row["images_per_s"])))


def test_compressed_and_parquet_files_hold_the_same(table: Tabular, tmp_path: Path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    path = write(tmp_path, list(networks()))
    (tmp_path / "nets.csv.gz").write_bytes(gzip.compress((tmp_path / "nets.csv").read_bytes()))
    rows = [{name: cell if cell != "" else None for name, cell in r.items()} for r in networks()]
    parquet.write_table(pyarrow.Table.from_pylist(rows), tmp_path / "nets.parquet")
    every = table.space.every_row()
    for name in ("nets.csv.gz", "nets.parquet"):
        path.write_text(DESCRIPTION.replace("nets.csv", name))
        again = load_table(path)
        assert again.space == table.space
        assert (again.loss(every) == table.loss(every)).all()


def test_files_are_joined_by_a_column(table: Tabular, tmp_path: Path) -> None:
    rows = [{"id": f"net{number}", **row} for number, row in enumerate(networks())]
    costs = ("id", "phone_ms", "images_per_s")
    write(tmp_path, [{name: row[name] for name in costs} for row in reversed(rows)])
    (tmp_path / "nets.csv").rename(tmp_path / "costs.csv")
    rest = [{name: row[name] for name in row if name not in costs[1:]} for row in rows]
    files = 'files = ["nets.csv", "costs.csv"]\njoin = "id"'
    path = write(tmp_path, rest, DESCRIPTION.replace('files = ["nets.csv"]', files))
    every = table.space.every_row()
    for device in table.devices:
        again = load_table(path).devices[device]["latency_ms"](every)
        assert (again == table.devices[device]["latency_ms"](every)).all()


def test_a_character_of_a_text_is_a_choice(tmp_path: Path) -> None:
    rows = [
        {"arch": f"{a}{b}", "error": 10 * a + b, "ms": 1} for a in range(3) for b in range(1, 3)
    ]
    text = """
    files = ["nets.csv"]
    loss = "error"
    costs = { latency_ms = "ms" }
    [choices]
    first = { column = "arch", character = 0 }
    second = { column = "arch", character = 1 }
    """
    table = load_table(write(tmp_path, rows, text))
    assert [made.options for made in table.space.choices] == [(0, 1, 2), (1, 2)]
    assert table.loss(table.space.every_row()).tolist() == [1, 2, 11, 12, 21, 22]
    assert list(table.devices) == ["nets"]


def cells(edges: str) -> str:
    choices = "\n".join(
        f'e{i} = {{ column = "arch", character = {i}, options = {[i % 2, 1 - i % 2]}{edge} }}'
        for i, edge in enumerate(edges.split(";"))
    )
    return f'files = ["nets.csv"]\nloss = "error"\ncosts = {{ ms = "ms" }}\n[choices]\n{choices}'


def test_choices_that_look_like_the_edges_of_a_cell_are_asked_about(tmp_path: Path) -> None:
    rows = [{"arch": f"{i:06b}", "error": i, "ms": 64 - i} for i in range(64)]
    table = load_table(write(tmp_path, rows, cells(";" * 5)))
    assert table.advice.startswith("All 6 choices have the same options, as the edges of a cell")
    ends = [(0, 1), (0, 2), (1, 2), (0, 3), (1, 3), (2, 3)]
    said = ";".join(f", edge = [{one}, {other}], cut = [0]" for one, other in ends)
    assert not load_table(write(tmp_path, rows, cells(said))).advice
    five = [{**row, "arch": str(row["arch"])[:5]} for row in rows[::2]]
    assert not load_table(write(tmp_path, five, cells(";" * 4))).advice


KINDS = (
    *("guided", "random", "nsga2", "regularized", "local", "linas", "boshnas"),
    *("policy-gradient", "optuna-tpe"),
)


@pytest.mark.parametrize("name", KINDS)
def test_every_kind_of_searcher_searches_it_and_goes_on_where_it_was_stopped(
    name: str, tmp_path: Path
) -> None:
    table = load_table(EXAMPLE)
    problem, evaluate = table.problem(), table.evaluator(seed=3)
    archive = Archive(tmp_path / "whole.journal", table.space, study="nets")
    found = search(searcher_named(name, problem, seed=3), evaluate, archive, budget=16, batch=4)
    rows = np.array([one.genotype for one in found])
    assert len({*map(tuple, rows.tolist())}) == 16
    assert [one.metrics["error"] for one in found] == table.loss(rows).tolist()
    part = Archive(tmp_path / "part.journal", table.space, study="nets")
    for evaluation in found[:6]:
        part.append(evaluation)
    again = search(searcher_named(name, problem, seed=3), evaluate, part, budget=16, batch=4)
    assert again == found


def test_an_evaluation_holds_every_device_s_costs(table: Tabular) -> None:
    ((one,),) = table.evaluator(seed=5)([table.space.largest])
    assert set(one.metrics) == {"error", "phone.latency_ms", "server.latency_ms"}
    assert (one.genotype, one.seed, one.where) == (table.space.largest, 5, "table nets")


def test_another_process_gets_the_same_evaluator(table: Tabular) -> None:
    genotypes = [table.space.smallest, table.space.largest]
    again = pickle.loads(pickle.dumps(table.evaluator(seed=5).factory()))()
    assert flat(again(genotypes)) == flat(table.evaluator(seed=5)(genotypes))


def test_a_network_outside_the_table_is_named(table: Tabular, tmp_path: Path) -> None:
    closed = (0, 0, 1)  # not canonical, so it has no row
    archive = Archive(tmp_path / "archive.journal", table.space, study="nets")

    class Careless:
        def ask(self, count):
            return [closed]

        def tell(self, evaluations):
            raise AssertionError("nothing was measured")

    with pytest.raises(EvaluationError, match=r"\(0, 0, 1\)"):
        search(Careless(), table.evaluator(), archive, budget=1, batch=1)


@settings(max_examples=40, deadline=None)
@given(
    st.lists(st.integers(2, 4), min_size=1, max_size=4).flatmap(
        lambda counts: st.tuples(
            st.just(counts),
            st.lists(st.tuples(*(st.integers(0, n - 1) for n in counts)), min_size=1, unique=True),
        )
    ),
    st.booleans(),
)
def test_a_place_is_that_of_the_row_and_else_none(made, many) -> None:
    """With few options by position, with many by their bytes."""
    counts, genotypes = made
    rows = np.array(sorted(genotypes))
    places = Places(rows, np.array([1000 * n if many else n for n in counts]))
    every = np.array(list(itertools.product(*map(range, counts))))
    place_of = {row: place for place, row in enumerate(map(tuple, rows.tolist()))}
    assert places(every).tolist() == [place_of.get(row, -1) for row in map(tuple, every.tolist())]


@pytest.mark.parametrize(
    ("reading", "words"),
    [
        ("accuracy", MetricWords("error", "%")),
        ("as-is", MetricWords("accuracy", digits=4)),
        ("rate", MetricWords("1 / accuracy", digits=4)),
    ],
)
def test_the_loss_of_a_table_is_called_by_its_column_unless_that_is_an_accuracy(
    tmp_path: Path, reading: str, words: MetricWords
) -> None:
    stated = DESCRIPTION.replace('reading = "accuracy"', f'reading = "{reading}"')
    assert load_table(write(tmp_path, list(networks()), stated)).words == words
