"""Kernels of small floats and of groups are timed, in rows of their own."""

from __future__ import annotations

import pytest

from nas.profiling import OnnxRuntime
from nas.targets import load_target
from nas.targets.numerics import FULL, Numerics
from nas.targets.table.rows import KernelKey
from nas.testing.deployment import SMALLEST_BUDGET
from search_spaces.formats import E3M2, E4M3, E5M2, FLOAT16, Format, Int
from search_spaces.kernels import Kernel
from search_spaces.ops import Activation, Add, Conv2d, Embedding, GlobalPool, Linear
from search_spaces.quant import PerChannel, PerGroup, PerTensor, Quant

UNSIGNED = Quant(Int(8, symmetric=False))
IMAGE, RELU = (16, 4, 4), Activation("relu")
GROUPS = Quant(Int(4), PerGroup(16))


def kernels(made: Format) -> list[Kernel]:
    held, read = Quant(made, PerChannel() if made.scaled else PerTensor()), Quant(made)
    return [
        Kernel(Conv2d(16, 3, weight=held, activation=read), (RELU,), (IMAGE,)),
        Kernel(Linear(12, weight=held, activation=read), (), ((16,),)),
        Kernel(Linear(12, weight=held), (), ((3, 16),)),
        Kernel(Add(activation=read), (RELU,), (IMAGE, IMAGE)),
        Kernel(GlobalPool(activation=read), (), (IMAGE,)),
    ]


GROUPED = [
    Kernel(Conv2d(16, 3, weight=GROUPS, activation=UNSIGNED), (RELU,), (IMAGE,)),
    Kernel(Linear(12, weight=GROUPS, activation=UNSIGNED), (), ((16,),)),
    Kernel(Linear(12, weight=GROUPS, activation=UNSIGNED), (), ((3, 32),)),
]


def test_every_kernel_that_this_machine_runs_has_a_time_of_its_own() -> None:
    target, backend = load_target("this-cpu"), OnnxRuntime()
    wanted = [*kernels(E4M3), *kernels(E5M2), *kernels(Int(8)), *GROUPED]
    runs = target.runs(wanted)
    assert len(runs) == len(wanted)
    assert len({KernelKey.of(kernel, numerics) for kernel, numerics in runs}) == len(wanted)
    assert {backend.refusal(kernel, numerics) for kernel, numerics in runs} == {None}
    rows = backend.measure(runs, budget_ms=SMALLEST_BUDGET)
    assert all(row.count > 0 for row in rows)


def test_inputs_in_floats_of_16_bits_have_a_time_and_weights_are_decoded() -> None:
    target, backend = load_target("this-cpu"), OnnxRuntime()
    runs = target.runs(kernels(FLOAT16))
    found = [str(numerics) for _, numerics in runs]
    assert found == ["floatxfloat16", "floatxfloat16", "floatxfloat", "float16", "float16"]
    assert {backend.refusal(kernel, numerics) for kernel, numerics in runs} == {None}
    assert backend.refusal(runs[0][0], Numerics("bfloat16", "bfloat16")) is None
    rows = backend.measure(runs[:1], budget_ms=SMALLEST_BUDGET)
    assert all(row.count > 0 for row in rows)


def test_what_no_file_holds_is_not_timed() -> None:
    conv = Conv2d(16, 3, weight=Quant(E3M2), activation=Quant(E3M2))
    told = OnnxRuntime().refusal(Kernel(conv, (), (IMAGE,)), Numerics("e3m2", "e3m2"))
    assert "given Conv2d at e3m2xe3m2" in str(told)
    table = Kernel(Embedding(7, 16, weight=GROUPS), (), ((5,),))
    told = OnnxRuntime().refusal(table, Numerics("int4", FULL, "per-group-16"))
    assert "Embedding looks up has no groups" in str(told)


@pytest.mark.parametrize("size", [8, 16])
def test_groups_of_other_sizes_have_other_rows(size: int) -> None:
    weight = Quant(Int(4), PerGroup(size))
    kernel = Kernel(Linear(12, weight=weight, activation=UNSIGNED), (), ((16,),))
    [(_, numerics)] = load_target("this-cpu", elsewhere=True).runs([kernel])
    assert KernelKey.of(kernel, numerics).weight == f"int7-per-group-{size}"
