"""The reader of all tables of text: every form in which programs write the same table."""

from __future__ import annotations

import numpy as np
import pytest

from nas.files.sheet import Sheet, SheetError, absent, decoded, read_sheet

TABLE = "name,width,ms\na,1,0.5\nb,2,1.25\n"
ROWS = [["a", "1", "0.5"], ["b", "2", "1.25"]]


def cells(sheet: Sheet) -> list[list[str]]:
    return [row for _, row in sheet.rows]


@pytest.mark.parametrize("by_line", [True, False])
@pytest.mark.parametrize(
    "text",
    [
        TABLE,
        "\ufeff" + TABLE,
        TABLE.replace("\n", "\r\n"),
        TABLE.replace("\n", "\r"),
        TABLE.removesuffix("\n"),
        TABLE.replace(",", ";"),
        TABLE.replace(",", "\t"),
        TABLE.replace(",", ";").replace(".", ","),
        TABLE.replace(",", "\t").replace(".", ","),
        "sep=;\n" + TABLE.replace(",", ";"),
        "SEP=\t\r\n" + TABLE.replace(",", "\t"),
        TABLE.replace(",", ", "),
        TABLE.replace(",", "  ,\u00a0"),
        TABLE + "\n\n",
        TABLE.replace("\n", "\n\n"),
        TABLE + ",,\n" + " , ,\n",
        TABLE.replace("\n", ",,,\n"),
        "\n".join(
            ",".join(f'"{cell}"' for cell in row.split(",")) for row in TABLE.split("\n")[:3]
        ),
    ],
)
def test_a_table_is_the_same_in_every_form(text: str, by_line: bool) -> None:
    sheet = read_sheet(text, by_line=by_line).with_points()
    assert sheet.header == ("name", "width", "ms")
    assert cells(sheet) == ROWS


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-16-be"])
def test_a_text_is_read_in_every_encoding_that_says_which_it_is(encoding: str) -> None:
    marked = "" if encoding in ("utf-8", "utf-8-sig", "utf-16") else "\ufeff"
    assert decoded((marked + "Größe,2\n").encode(encoding)) == "Größe,2\n"


def test_another_encoding_is_refused_with_its_place() -> None:
    with pytest.raises(SheetError, match="not UTF-8: byte 4, in line 2, is 0xf6; save it anew"):
        decoded("a\nGr\xf6\xdfe".encode("cp1252"))
    with pytest.raises(SheetError, match="NUL character at position 1"):
        decoded("ab".encode("utf-16-le"))


def test_numbers_that_may_be_thousands_stay_as_they_are() -> None:
    unclear = "a\tb\n1,234\t0,5\n"
    assert cells(read_sheet(unclear).with_points()) == [["1,234", "0.5"]]
    assert cells(read_sheet(unclear.replace("\t", ";")).with_points()) == [["1.234", "0.5"]]
    mixed = "a;b\n1,5;2\n1.5;3\n"
    assert cells(read_sheet(mixed).with_points()) == [["1,5", "2"], ["1.5", "3"]]


def test_only_columns_of_numbers_lose_their_commas() -> None:
    text = "fields;ms;label\n8,3;0,5;1,2\n16,3;1;3\n"
    assert cells(read_sheet(text).with_points(["ms"])) == [
        ["8,3", "0.5", "1,2"],
        ["16,3", "1", "3"],
    ]


def test_a_header_that_may_be_cut_in_two_ways_is_settled_by_its_rows_or_refused() -> None:
    header = "temperature, in C;pressure, in bar\n"
    assert read_sheet(header + "1;2\n3;4\n").header == ("temperature, in C", "pressure, in bar")
    with pytest.raises(SheetError, match="commas and semicolons, and either may separate"):
        read_sheet(header)


def test_notes_lose_the_cells_that_a_spreadsheet_added() -> None:
    text = '# device: a, b,\n"# runtime: ""x""",,\n\nname,width,ms\na,1,2\n'
    sheet = read_sheet(text, by_line=True)
    assert sheet.notes == ((1, "# device: a, b"), (2, '# runtime: "x"'))
    assert (sheet.line, sheet.rows) == (4, ((5, ["a", "1", "2"]),))


def test_a_row_that_is_not_well_formed_is_named_and_spoils_no_other_line() -> None:
    text = 'a,b\n1,"2\n3,4\n'
    with pytest.raises(SheetError, match="line 3 is no row"):
        read_sheet(text)
    assert read_sheet(text, by_line=True).rows == ((2, []), (3, ["3", "4"]))
    assert read_sheet('a,b\n1,"2\n3"\n').rows == ((3, ["1", "2\n3"]),)


def test_the_names_of_columns_that_numpy_writes_are_read(tmp_path) -> None:
    np.savetxt(tmp_path / "n.csv", [[1, 2.5]], delimiter=",", header="a,b")
    assert read_sheet((tmp_path / "n.csv").read_text()).header == ("a", "b")


def test_a_file_that_is_not_there_names_its_neighbours(tmp_path) -> None:
    (tmp_path / "Table.csv").touch()
    assert "beside it lies 'Table.csv' (upper and lower case" in absent(tmp_path / "table.CSV")
    assert "beside it lies 'Table.csv' (is one of these" in absent(tmp_path / "Tabel.csv")
    assert absent(tmp_path / "x" / "y.csv") == f"there is no file {tmp_path / 'x' / 'y.csv'}"
