"""Kernels timed together with their neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import pytest

from nas.export.runtime import kernels_run
from nas.profiling import OnnxRuntime
from nas.profiling.backend import SeamBackend
from nas.profiling.seam_loop import profile_seams, representatives
from nas.profiling.seam_models import seam_model
from nas.targets import HardwareTarget, load_target
from nas.targets.errors import TargetError
from nas.targets.seams.space_seams import SpaceSeams, Tensor
from nas.targets.seams.table import Added, SeamTable
from nas.targets.target import space_kernels
from search_spaces.ops import Add, Learned, Slice
from search_spaces.space import SearchSpace
from tests.nas.targets.seams.test_space_seams import MIXED
from tests.nas.targets.test_network_costs import NARROW, WIDE, network


class Pretended(OnnxRuntime):
    """A backend whose seams take as many milliseconds as their tensors have elements."""

    def seams(self, tensors: Sequence[Tensor], *, budget_ms: float) -> list[Added]:
        del budget_ms
        return [Added(float(tensor.elements), 0.0, 1) for tensor in tensors]


class Killed(Pretended):
    """A backend that is killed when it measures its third group."""

    groups: list[int] = []  # noqa: RUF012

    def seams(self, tensors: Sequence[Tensor], *, budget_ms: float) -> list[Added]:
        self.groups.append(len(tensors))
        if len(self.groups) > 2:
            raise KeyboardInterrupt
        return super().seams(tensors, budget_ms=budget_ms)


@pytest.fixture(scope="module")
def this_cpu() -> HardwareTarget:
    return load_target("this-cpu")


def fork(right: object, target: HardwareTarget) -> Tensor:
    """The tensor of the test network that two convolutions read."""
    space = SearchSpace(network(right))  # pyright: ignore[reportArgumentType]
    seams = SpaceSeams(
        space_kernels(space, target.fusion), target.numerics, in_floats=target.in_floats
    )
    return next(tensor for tensor in seams.tensors() if len(tensor.readers) == 2)


def test_a_convolution_whose_readers_have_two_grids_runs_in_floats(
    this_cpu: HardwareTarget, tmp_path: Path
) -> None:
    counts = {}
    for right in (WIDE, NARROW):
        path = tmp_path / "seam.onnx"
        path.write_bytes(seam_model(fork(right, this_cpu)))
        ran = kernels_run(path)
        counts[right] = (ran["QLinearConv"], ran.get("Conv", 0) + ran.get("FusedConv", 0))
    assert counts == {WIDE: (3, 0), NARROW: (2, 1)}


def test_a_view_between_two_kernels_is_part_of_the_model(this_cpu: HardwareTarget) -> None:
    space = SearchSpace(network())
    seams = SpaceSeams(
        space_kernels(space, this_cpu.fusion), this_cpu.numerics, in_floats=this_cpu.in_floats
    )
    head = next(t for t in seams.tensors() if str(t.seam).startswith("GlobalPool"))
    kinds = [node.op_type for node in onnx.load_from_string(seam_model(head)).graph.node]
    assert "Flatten" in kinds
    assert "Gemm" in kinds


def test_a_reader_that_has_no_precision_of_its_own(this_cpu: HardwareTarget) -> None:
    graph = network()
    graph.add("part", Slice(0, 0, 4), "head")
    seams = SpaceSeams(
        space_kernels(SearchSpace(graph), this_cpu.fusion),
        this_cpu.numerics,
        in_floats=this_cpu.in_floats,
    )
    head = next(t for t in seams.tensors() if str(t.seam).startswith("Linear"))
    kinds = [node.op_type for node in onnx.load_from_string(seam_model(head)).graph.node]
    assert "Slice" in kinds


def test_a_learned_tensor_is_neither_read_nor_written(this_cpu: HardwareTarget) -> None:
    graph = network()
    graph.add("token", Learned((10,)), "head")
    graph.add("sum", Add(), "head", "token")
    seams = SpaceSeams(
        space_kernels(SearchSpace(graph), this_cpu.fusion),
        this_cpu.numerics,
        in_floats=this_cpu.in_floats,
    )
    names = {str(seam) for seam in seams.distinct()}
    assert "Linear int8 -> Add float of float" in names
    assert not any("Learned" in name for name in names)


def test_the_rows_are_those_of_the_space_at_up_to_three_sizes(
    this_cpu: HardwareTarget, tmp_path: Path
) -> None:
    table = profile_seams(this_cpu, MIXED, path=tmp_path / "t.csv", backend=Pretended())
    seams = SpaceSeams(
        space_kernels(MIXED, this_cpu.fusion), this_cpu.numerics, in_floats=this_cpu.in_floats
    )
    assert table.lacking(seams.distinct()) is None
    assert max(map(len, table.rows.values())) == 3
    for seam in seams.distinct():
        sizes = sorted(tensor.elements for tensor in seams.tensors() if tensor.seam == seam)
        assert {sizes[0], sizes[-1]} <= set(table.rows[seam])
        assert table.added_ms(seam, np.array([float(sizes[-1])])) == pytest.approx([sizes[-1]])


def test_a_killed_profiler_goes_on_where_it_stopped(
    this_cpu: HardwareTarget, tmp_path: Path
) -> None:
    path = tmp_path / "t.csv"
    with pytest.raises(KeyboardInterrupt):
        profile_seams(this_cpu, MIXED, path=path, backend=Killed())
    held = sum(map(len, SeamTable.read(path).rows.values()))
    assert held == sum(Killed.groups[:2])
    with path.open("a") as file:
        file.write("Conv2d int8,Add")
    seen: list[tuple[int, int]] = []
    whole = profile_seams(
        this_cpu, MIXED, path=path, backend=Pretended(), progress=lambda *done: seen.append(done)
    )
    total = len(list(representatives(this_cpu, MIXED)))
    assert (seen[0], seen[-1]) == ((held, total), (total, total))
    assert SeamTable.read(path).rows == whole.rows


def test_seams_of_another_runtime_are_refused(this_cpu: HardwareTarget, tmp_path: Path) -> None:
    path, small = tmp_path / "t.csv", SearchSpace(network())
    profile_seams(this_cpu, small, path=path, backend=Pretended())
    with pytest.raises(TargetError, match="threads"):
        profile_seams(this_cpu, small, path=path, backend=Pretended(threads=2))


def test_onnxruntime_times_kernels_together_and_alone(this_cpu: HardwareTarget) -> None:
    backend = OnnxRuntime()
    assert isinstance(backend, SeamBackend)
    [found] = backend.seams([fork(NARROW, this_cpu)], budget_ms=1.0)
    assert np.isfinite(found.ms)
    assert found.count > 0
