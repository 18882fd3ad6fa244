"""The contract of an adapter, which reads a public latency table."""

from __future__ import annotations

import gzip
import math
import pickle
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nas.targets import TargetError, load_target
from nas.targets.adapters import Adapter, Imported, write
from nas.targets.adapters.imported import Origin
from nas.targets.table.latency_table import LatencyTable

SHARED_FOLDER = [HealthCheck.function_scoped_fixture, HealthCheck.differing_executors]


class AdapterContract:
    """The tests of an adapter; a subclass gives two fixtures.

    These are `adapter`, and `published`, the text of a small and complete file for the adapter.
    """

    suffix = ".csv"

    @pytest.fixture
    def path(self, tmp_path: Path, published: str) -> Path:
        path = tmp_path / f"published{self.suffix}"
        path.write_text(published, encoding="utf-8")
        return path

    def test_states_units_and_how_the_figures_came_about(self, adapter: Adapter) -> None:
        assert adapter.origin in get_args(Origin)
        assert adapter.units
        assert adapter.format

    def test_maps_something_and_says_where_it_is_from(self, adapter: Adapter, path: Path) -> None:
        found = adapter.read(path)
        assert found.rows or found.samples
        assert found.origin == adapter.origin
        assert all([found.device, found.runtime, found.source, found.units])
        assert set(found.kernels) == set(found.rows)
        assert all(item.reason and item.where for item in found.unmapped)
        _assert_sound(found)

    def test_reads_gzip_alike(self, adapter: Adapter, path: Path, tmp_path: Path) -> None:
        packed = tmp_path / f"{path.name}.gz"
        packed.write_bytes(gzip.compress(path.read_bytes()))
        assert adapter.read(packed).rows == adapter.read(path).rows

    def test_a_written_target_holds_the_same_rows(
        self, adapter: Adapter, path: Path, tmp_path: Path
    ) -> None:
        found = adapter.read(path)
        if not found.rows:
            with pytest.raises(TargetError, match="no kernels"):
                write(found, "imported", tmp_path / "out")
            return
        target = load_target(write(found, "imported", tmp_path / "out"))
        assert isinstance(target.model, LatencyTable)
        assert target.model.rows == found.rows
        assert target.fusion == found.fusion
        assert target.provenance == ("simulated" if found.origin == "simulated" else "imported")
        for key, kernel in found.kernels.items():
            assert key.activation in {
                numerics.activation
                for op in kernel.ops
                for numerics in target.capability.native(op)
            }

    @given(share=st.floats(0, 1, exclude_max=True))
    @settings(max_examples=30, deadline=None, suppress_health_check=SHARED_FOLDER)
    def test_what_is_cut_off_is_an_error_or_fewer_rows_of_the_same_figures(
        self, adapter: Adapter, path: Path, published: str, tmp_path: Path, share: float
    ) -> None:
        whole = adapter.read(path)
        cut = tmp_path / f"cut{self.suffix}"
        cut.write_text(published[: int(share * len(published))], encoding="utf-8")
        found = _read(adapter, cut)
        if found is not None:
            assert len(found.rows) + len(found.samples) <= len(whole.rows) + len(whole.samples)
            assert all(whole.rows[key] == row for key, row in found.rows.items())

    @given(place=st.floats(0, 1), inserted=st.text(min_size=1, max_size=8))
    @settings(max_examples=60, deadline=None, suppress_health_check=SHARED_FOLDER)
    def test_foreign_letters_end_in_one_error_or_sound_rows(
        self,
        adapter: Adapter,
        path: Path,
        published: str,
        tmp_path: Path,
        place: float,
        inserted: str,
    ) -> None:
        at = int(place * len(published))
        path = tmp_path / f"foreign{self.suffix}"
        words = published[:at] + inserted + published[at:]
        path.write_bytes(words.encode("utf-8", errors="replace"))
        if (found := _read(adapter, path)) is not None:
            _assert_sound(found)

    @given(figure=st.sampled_from(["NaN", "-1", "-0.5", "1e999", "-inf", "=1+1", "\uff11", ""]))
    @settings(max_examples=8, deadline=None, suppress_health_check=SHARED_FOLDER)
    def test_a_figure_that_cannot_be_is_told_and_left_out(
        self, adapter: Adapter, path: Path, published: str, tmp_path: Path, figure: str
    ) -> None:
        whole = adapter.read(path)
        spoilt = published.replace(self.figure, figure)
        assert spoilt != published
        path = tmp_path / f"spoilt{self.suffix}"
        path.write_text(spoilt, encoding="utf-8")
        if (found := _read(adapter, path)) is not None:
            _assert_sound(found)
            assert len(found.unmapped) > len(whole.unmapped)

    figure = ""  # one latency as `published` writes it

    @given(data=st.binary(max_size=200))
    @settings(max_examples=40, deadline=None, suppress_health_check=SHARED_FOLDER)
    def test_any_bytes_end_in_one_error(
        self, adapter: Adapter, tmp_path: Path, data: bytes
    ) -> None:
        path = tmp_path / f"bytes{self.suffix}"
        path.write_bytes(data)
        assert _read(adapter, path) is None

    @pytest.mark.parametrize("made", ["pickle", "zip", "folder", "nothing", "large"])
    def test_what_is_no_table_is_refused(
        self, adapter: Adapter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, made: str
    ) -> None:
        path = tmp_path / f"refused{self.suffix}"
        match made:
            case "pickle":
                path.write_bytes(pickle.dumps({"key": 1.0}))
            case "zip":
                path.write_bytes(b"PK\x03\x04" + b"0" * 100)
            case "folder":
                path.mkdir()
            case "large":
                monkeypatch.setattr("nas.targets.adapters.reading.MAX_BYTES", 1 << 20)
                path.write_bytes(gzip.compress(b"0" * (2 << 20)))
        with pytest.raises(TargetError, match=r"pickle|zip|cannot be read|more than"):
            adapter.read(path)


def _read(adapter: Adapter, path: Path) -> Imported | None:
    """The content of a file, or None if the file is refused with the allowed error."""
    try:
        return adapter.read(path)
    except TargetError:
        return None


def _assert_sound(found: Imported) -> None:
    figures = [row.latency_ms for row in found.rows.values()]
    figures += [row.spread_ms for row in found.rows.values()]
    figures += [sample.latency_ms for sample in found.samples]
    assert all(math.isfinite(figure) and figure >= 0 for figure in figures)
    words = [item.where + item.reason for item in found.unmapped]
    words += [finding.text for finding in found.findings]
    assert all(word.isprintable() for word in words)
