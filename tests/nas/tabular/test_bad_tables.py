"""What is wrong with a table is told before any search, with what to do."""

from __future__ import annotations

from pathlib import Path

import pytest

from nas.tabular import TableError, load_table, open_table
from nas.tabular.columns import read_files
from nas.tabular.description import read_description
from nas.tabular.networks import networks_of
from nas.tabular.published import VARIABLE
from search_spaces.documents import UnreadableFile
from tests.nas.tabular.made import DESCRIPTION, networks, write


def untold(path: Path, *parts: str) -> list[str]:
    """The parts that the refusal's message lacks."""
    with pytest.raises((TableError, UnreadableFile)) as caught:
        load_table(path)
    return [part for part in parts if part not in str(caught.value)]


@pytest.mark.parametrize(
    ("column", "value", "parts"),
    [
        ("width", 64, ("choice 'width' is 64 in row 2", "8, 16, 32")),
        ("width", "", ("choice 'width' is empty in row 2", "when")),
        ("accuracy", "good", ("column 'accuracy'", "row 2 holds 'good'")),
        ("accuracy", "inf", ("row 2 holds inf",)),
        ("accuracy", "", ("row 2 is empty or NaN", 'missing = "extra-trees"')),
        ("phone_ms", "nan", ("column 'phone_ms'", "row 2 is empty or NaN")),
        ("accuracy", 101, ("between 0 and 100", "check unit")),
        ("images_per_s", 0, ("a rate must be above 0",)),
    ],
)
def test_a_cell_that_cannot_be_is_named(tmp_path, column: str, value: object, parts) -> None:
    rows = list(networks())
    rows[1][column] = value
    assert untold(write(tmp_path, rows), *parts) == []


@pytest.mark.parametrize(
    ("old", "new", "parts"),
    [
        ('column = "accuracy"', 'column = "acc"', ("no column 'acc'", "accuracy, phone_ms")),
        ("width = [8, 16, 32]", "wide = [8, 16, 32]", ("no column 'wide'",)),
        ("width = [8, 16, 32]", "width = [8, 16, 16]", ("'width' needs options, each once",)),
        ("width = [8, 16, 32]", "width = [8, 16]", ("choice 'width' is 32",)),
        ("depth = [2]", "deep = [2]", ("conditions on 'deep'", "depth, width")),
        ("depth = [2]", "depth = [3]", ("the options [3] of 'depth'", "[1, 2]")),
        ("[devices.server]", "[devices.server]\nerror = 'phone_ms'", ("called 'error'",)),
        ("[devices.server]", "[devices.empty]\n[devices.server]", ("'empty' has no costs",)),
        ('files = ["nets.csv"]', 'file = "nets.csv"', ("file: unknown key", "files")),
        ('files = ["nets.csv"]', 'files = ["a.csv", "b.csv"]', ("need join",)),
        ('reading = "accuracy"', 'reading = "percent"', ("loss.reading = 'percent'",)),
        ("nets.csv", "nets.txt", ("none of .csv, .csv.gz, .parquet",)),
        ("nets.csv", "netz.csv", ("no file", "netz.csv", "beside it lies 'nets.csv'")),
        ('reading = "rate", unit = 1000', "unit = 0", ("unit = 0: ",)),
        ("[loss]", "[loss", ("is no TOML", "line 9")),
        ("width = [8, 16, 32]", "width = { edge = [1, 2] }", ("table 'nets'", "make no cell")),
        ("width = [8, 16, 32]", "width = { edge = [0, 1], cut = [7] }", ("among its options", "7")),
        ("when = { depth = [2] }", "edge = [0, 1], when = { depth = [2] }", ("is always open",)),
    ],
)
def test_a_description_that_does_not_fit_is_told(tmp_path, old: str, new: str, parts) -> None:
    assert old in DESCRIPTION
    path = write(tmp_path, list(networks()), DESCRIPTION.replace(old, new))
    (tmp_path / "nets.txt").touch()
    assert untold(path, *parts) == []


@pytest.mark.parametrize(
    ("content", "parts"),
    [
        (b"", ("no rows",)),
        (b"depth,width\n", ("no rows",)),
        (b"depth,depth\n1,2\n", ("several columns depth",)),
        (b"depth,width\n1,2\n1\n", ("line 3", "another number of entries than the 2 columns")),
        (b"\xff\xfd\x00\n", ("no CSV text", "UTF-8")),
    ],
)
def test_a_file_that_is_no_table_is_told(tmp_path, content: bytes, parts) -> None:
    path = write(tmp_path, list(networks()))
    (tmp_path / "nets.csv").write_bytes(content)
    assert untold(path, *parts) == []


def test_a_parquet_file_that_is_none_and_a_broken_archive_are_told(tmp_path) -> None:
    pytest.importorskip("pyarrow")
    for name in ("nets.parquet", "nets.csv.gz"):
        path = write(tmp_path, list(networks()), DESCRIPTION.replace("nets.csv", name))
        (tmp_path / name).write_bytes(b"\x1f\x8b\x08 this is neither")
        assert untold(path, name) == []


def test_a_changed_byte_in_the_cells_of_a_parquet_file_is_told(tmp_path) -> None:
    pyarrow = pytest.importorskip("pyarrow")
    parquet = pytest.importorskip("pyarrow.parquet")
    rows = list(networks())
    cells = {name: [str(row[name]) for row in rows] for name in rows[0]}
    path = write(tmp_path, rows, DESCRIPTION.replace("nets.csv", "nets.parquet"))
    held = tmp_path / "nets.parquet"
    parquet.write_table(pyarrow.table(cells), held, compression="none", write_page_checksum=True)
    load_table(path)
    value = sorted(cells["accuracy"])[4].encode()
    assert value in held.read_bytes()
    held.write_bytes(held.read_bytes().replace(value, b"0" * len(value), 1))
    assert untold(path, "nets.parquet", "CRC") == []


@pytest.mark.parametrize(
    ("ids", "parts"),
    [
        (range(20, 29), ("no entry of column 'id' is in every file",)),
        ([0] * 9, ("repeats an entry",)),
        (range(8), ("8 of the 9 networks",)),
    ],
)
def test_files_that_do_not_join_are_told(tmp_path, ids, parts) -> None:
    write(tmp_path, [{"id": number, "more": 1} for number in ids])
    (tmp_path / "nets.csv").rename(tmp_path / "more.csv")
    rows = [{"id": number, **row} for number, row in enumerate(networks())]
    files = 'files = ["nets.csv", "more.csv"]\njoin = "id"'
    assert (
        untold(write(tmp_path, rows, DESCRIPTION.replace('files = ["nets.csv"]', files)), *parts)
        == []
    )


def test_shares_of_one_are_not_taken_for_percent(tmp_path) -> None:
    rows = [{**row, "accuracy": float(str(row["accuracy"])) / 100} for row in networks()]
    assert untold(write(tmp_path, rows), "shares of 1", "unit = 0.01") == []


def test_a_name_that_is_not_known_and_a_folder_that_is_not_given(monkeypatch, tmp_path) -> None:
    with pytest.raises(TableError, match=r"no table 'nasbench101'.*nasbench201"):
        open_table("nasbench101")
    monkeypatch.delenv(VARIABLE, raising=False)
    with pytest.raises(TableError, match=VARIABLE):
        open_table("nasbench201")
    with pytest.raises(TableError, match="mp201_joint"):
        open_table("mp-nasbench201", data=tmp_path)


def test_a_device_or_cost_that_is_not_there(tmp_path) -> None:
    table = load_table(write(tmp_path, list(networks())))
    with pytest.raises(TableError, match="no device 'watch'; it has phone, server"):
        table.goal("watch")
    with pytest.raises(TableError, match="no cost energy_mj"):
        table.goal("phone", ["energy_mj"])


def test_a_reading_that_is_none_of_the_known_ones_is_refused_and_not_taken_for_an_accuracy(
    tmp_path,
) -> None:
    described = read_description(write(tmp_path, list(networks())))
    loss = described.loss.model_copy(update={"reading": "percent"})
    columns = read_files([tmp_path / name for name in described.files], described.join)
    with pytest.raises(TableError, match="no reading 'percent'; give as-is, rate or accuracy"):
        networks_of(described.model_copy(update={"loss": loss}), columns)
