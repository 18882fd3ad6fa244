"""Files timed in turns, and onnxruntime's own quantization beside which ours are timed."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from nas.export import export_onnx
from nas.export.runtime import file_outputs, kernels_run
from nas.export.stand_in import stand_in
from nas.export.static_reference import quantize_statically
from nas.profiling import side_by_side as module
from nas.profiling.side_by_side import side_by_side
from search_spaces.policy import full_precision
from tests.nas.targets.test_network_costs import network


class Paced:
    """A session that takes as long as its file's name says, and twice that in every other round."""

    ran: list[str] = []  # noqa: RUF012

    def __init__(self, model: str, *, threads: int, clock: object) -> None:
        del threads, clock
        self._name = Path(model).name
        self._slow: Iterator[int] = itertools.cycle((1,) * module.BURST + (2,) * module.BURST)
        for _ in range(module.BURST - module.WARM_UP):
            next(self._slow)

    def __call__(self) -> float:
        self.ran.append(self._name)
        return float(self._name) * next(self._slow)


@pytest.fixture(scope="module")
def floats(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("files") / "float.onnx"
    export_onnx(stand_in(full_precision(network())), path)
    return path


def test_ratios_are_of_the_same_round(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "Session", Paced)
    found = side_by_side({"a": Path("4"), "b": Path("6")}, reference="a", rounds=40)
    assert found["b"].ratio == pytest.approx(1.5)
    assert found["b"].interval == pytest.approx((1.5, 1.5))
    assert (found["a"].ratio, found["a"].is_slower, found["b"].is_slower) == (1.0, False, True)
    assert found["b"].middle_ms == (6.0, 12.0)
    assert found["b"].quiet_ms == 6.0
    turns = Paced.ran[-1 : -4 * module.BURST : -module.BURST]
    assert turns == ["4", "6", "6", "4"]  # every round begins with another file


def test_a_file_beside_itself_is_not_slower(floats: Path) -> None:
    found = side_by_side({"one": floats, "other": floats}, reference="one", rounds=20)
    assert found["one"].interval == (1.0, 1.0)
    low, high = found["other"].interval
    assert 0 < low <= found["other"].ratio <= high


@pytest.mark.parametrize(("reference", "rounds"), [("c", 10), ("a", 1)])
def test_an_unknown_reference_and_too_few_rounds_are_refused(reference: str, rounds: int) -> None:
    with pytest.raises(ValueError, match="the reference is one of a and rounds are at least 2"):
        side_by_side({"a": Path("4")}, reference=reference, rounds=rounds)


def test_static_quantization_computes_on_integers_what_the_file_computes(
    floats: Path, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    batches = [{"image": torch.rand(4, 3, 8, 8)} for _ in range(2)]
    out = tmp_path / "static.onnx"
    quantize_statically(floats, out, batches)
    assert [*tmp_path.iterdir()] == [out]
    assert kernels_run(floats)["Conv"] == 3
    assert kernels_run(out)["QLinearConv"] == 3
    wanted, found = (next(file_outputs(path, batches[:1])) for path in (floats, out))
    assert abs(found - wanted).max() < 0.1 * abs(wanted).max()
