"""Archives as tables, and several as one."""

import csv
import json
from dataclasses import replace

import numpy as np
import pytest
from pyarrow import parquet

from nas.archive.archive import Archive, ArchiveError
from nas.archive.sharing import export_archive, merge_archives
from nas.report.store import load
from nas.run.folder import RunFolder
from nas.targets.target_files import DEVICES
from nas.testing.searcher import chain, evaluated
from search_spaces.choice import choice
from search_spaces.formats import Int
from search_spaces.graph import Graph
from search_spaces.ops import Input, Linear, deeper_than
from search_spaces.quant import PerChannel, Quant
from search_spaces.space import SearchSpace
from tests.nas.runs import assert_refused, evaluations, nas, succeeded

SPACE = chain(depth=3)


def archive(path, seeds):
    made = Archive(path, SPACE, study="test")
    drawn = {SPACE.sample(np.random.default_rng(seed)) for seed in seeds}
    for evaluation in evaluated(sorted(drawn)):
        made.append(evaluation)
    return made


def test_a_csv_holds_every_evaluation(tmp_path):
    made = archive(tmp_path / "a.journal", range(10))
    assert export_archive(made, tmp_path / "a.csv") == len(made)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    told = made.evaluations()
    assert [row["genotype"] for row in rows] == [" ".join(map(str, e.genotype)) for e in told]
    assert [float(row["error"]) for row in rows] == [e.metrics["error"] for e in told]
    picks = [SPACE.picks(e.genotype) for e in told]
    for name in SPACE.column:
        assert [row[name] for row in rows] == [str(found.get(name, "")) for found in picks]


def test_parquet_holds_what_csv_does(tmp_path):
    made = archive(tmp_path / "a.journal", range(10))
    export_archive(made, tmp_path / "a.parquet")
    read = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert read["error"] == [e.metrics["error"] for e in made.evaluations()]
    assert read["seed"] == [0] * len(made)
    picks = [SPACE.picks(e.genotype) for e in made.evaluations()]
    for name in SPACE.column:
        assert read[name] == [found.get(name) for found in picks]


BITS = (Quant(Int(4), PerChannel()), Quant(Int(8), PerChannel()))


def precise(*options):
    """A space whose second layer, with a precision to choose, may be absent."""
    graph, depth = Graph(Input("x", (4,))), choice("depth", (1, 2))
    graph.add("first", Linear(4, weight=choice("first.bits", BITS)))
    second = Linear(4, weight=choice("second.bits", options))
    graph.add("second", second, present=deeper_than(depth, 1))
    return SearchSpace(graph)


def test_precisions_are_bits_and_closed_choices_are_empty(tmp_path):
    space = precise(None, *BITS)
    made = Archive(tmp_path / "a.journal", space, study="test")
    described = [
        {"depth": 1, "first.bits": 8},
        {"depth": 2, "first.bits": 4, "second.bits": "float"},
        {"depth": 2, "first.bits": 8, "second.bits": 8},
    ]
    for evaluation in evaluated([space.genotype(picks) for picks in described]):
        made.append(evaluation)
    for name in ("a.csv", "a.parquet"):
        costs = {"device.latency_ms": [0.5, float("inf"), 2.0]}
        export_archive(made, tmp_path / name, costs=lambda rows, known=costs: known)
    with (tmp_path / "a.csv").open() as file:
        rows = list(csv.DictReader(file))
    assert [(row["first.bits"], row["second.bits"]) for row in rows] == [
        ("8", ""),
        ("4", "float"),
        ("8", "8"),
    ]
    assert [row["device.latency_ms"] for row in rows] == ["0.5", "inf", "2.0"]
    read = parquet.read_table(tmp_path / "a.parquet").to_pydict()
    assert (read["first.bits"], read["second.bits"]) == ([8, 4, 8], [None, "float", "8"])
    assert read["device.latency_ms"] == [0.5, float("inf"), 2.0]


def test_a_changed_byte_in_an_exported_parquet_file_is_found(tmp_path):
    made, path = archive(tmp_path / "a.journal", range(10)), tmp_path / "a.parquet"
    export_archive(made, path)
    errors = sorted(evaluation.metrics["error"] for evaluation in made.evaluations())
    value = np.float64(errors[len(errors) // 2]).tobytes()
    assert value in path.read_bytes()
    path.write_bytes(path.read_bytes().replace(value, np.float64(0.5).tobytes(), 1))
    with pytest.raises(OSError, match="CRC"):
        parquet.read_table(path, page_checksum_verification=True)


def test_a_text_that_a_spreadsheet_would_run_is_made_inert(tmp_path):
    made = Archive(tmp_path / "a.journal", SPACE, study="test")
    [one] = evaluated([SPACE.smallest])
    made.append(replace(one, where="=1+1"))
    export_archive(made, tmp_path / "a.csv")
    assert ",'=1+1" in (tmp_path / "a.csv").read_text()


def test_another_suffix_is_refused(tmp_path):
    with pytest.raises(ArchiveError, match=r"\.csv or \.parquet"):
        export_archive(archive(tmp_path / "a.journal", range(2)), tmp_path / "a.xlsx")


def test_merging_keeps_the_first_of_every_network(tmp_path):
    into, other = archive(tmp_path / "a", range(8)), archive(tmp_path / "b", range(4, 14))
    both = {e.genotype for a in (into, other) for e in a.evaluations()}
    before = into.evaluations()
    assert merge_archives(into, [other]) == len(both) - len(before)
    assert into.evaluations()[: len(before)] == before
    assert {e.genotype for e in into.evaluations()} == both
    assert merge_archives(into, [other]) == 0


def test_archives_of_another_space_are_not_merged(tmp_path):
    into = archive(tmp_path / "a", range(3))
    other = Archive(tmp_path / "b", chain(depth=2), study="test")
    with pytest.raises(ArchiveError, match="one space"):
        merge_archives(into, [other])


def test_the_command_line_exports_and_merges(finished, folder, tmp_path):
    succeeded(nas("archive", "export", finished, tmp_path / "all.csv"))
    with (tmp_path / "all.csv").open() as file:
        rows = list(csv.DictReader(file))
    results = load(finished / "results.json")
    genotypes = [" ".join(map(str, point.genotype)) for point in results.evaluated]
    assert [row["genotype"] for row in rows] == genotypes
    for target in results.targets:
        for name, values in target.costs.items():
            shared = name in ("macs", "bitops", "model_bytes")
            column = [float(row[name if shared else f"{target.name}.{name}"]) for row in rows]
            assert column == pytest.approx(values), (target.name, name)
    more = ("--evaluations", "2", "--out", tmp_path / "more")
    succeeded(nas("search", "--from", folder, "--target", "edge-npu", *more))
    succeeded(nas("archive", "merge", folder, tmp_path / "more"))
    assert len(evaluations(folder)) == len(evaluations(finished)) + 2


def test_a_target_file_outside_of_the_folder_is_opened_if_it_is_named(folder, tmp_path):
    path = tmp_path / "board.toml"
    path.write_text((DEVICES / "edge-npu.toml").read_text().replace('"edge-npu"', '"board"'))
    recipe = RunFolder(folder).recipe
    content = json.loads(recipe.read_text())
    content["targets"][0]["name"] = str(path)
    recipe.write_text(json.dumps(content))
    export = ("archive", "export", folder, tmp_path / "all.csv")
    outcome = nas(*export)
    assert outcome.code == 0
    assert f"the costs on {path} are left out" in " ".join(outcome.err.split())
    assert "board." not in (tmp_path / "all.csv").read_text()
    succeeded(nas(*export, "--target", path))
    assert "board.latency_ms" in (tmp_path / "all.csv").read_text()


def test_runs_of_another_supernet_are_not_merged(finished, folder, tmp_path):
    RunFolder(folder).supernet.write_bytes(b"other")
    assert_refused(nas("archive", "merge", finished, folder), "supernet")
    assert_refused(nas("archive", "export", tmp_path, tmp_path / "a.csv"), "no archive")


def test_runs_measured_on_other_images_are_not_merged(finished, folder):
    recipe = RunFolder(folder).recipe
    content = json.loads(recipe.read_text())
    content["search"]["validation_samples"] = 20
    recipe.write_text(json.dumps(content))
    before = evaluations(finished)
    outcome = nas("archive", "merge", finished, folder)
    assert_refused(outcome, "another search.validation_samples")
    assert evaluations(finished) == before


def test_the_command_line_seals_what_an_earlier_version_wrote(finished, folder, tmp_path):
    journal = RunFolder(folder).archive
    lines = [json.loads(line) for line in journal.read_bytes().splitlines()]
    for record in lines:
        del record["previous"], record["digest"], record["place"]
    older = "".join(json.dumps(record) + "\n" for record in lines)
    journal.write_text(older)
    refused = nas("archive", "export", folder, tmp_path / "all.csv")
    assert_refused(refused, "no digest", "nas archive seal")
    succeeded(nas("archive", "seal", folder))
    assert evaluations(folder) == evaluations(finished)
    assert (folder / "archive.journal.1.before").read_text() == older
    with RunFolder(folder).locked():
        assert_refused(nas("archive", "seal", folder), "another process is running")
