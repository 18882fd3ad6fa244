"""Some damaged files of every kind, and that the harness would notice what must not happen."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from benchmarks import mutation_kinds, mutations
from benchmarks.mutation_formats import damaged
from benchmarks.mutation_kinds import KINDS, Kind, OutOfDomain
from benchmarks.mutations import LEGAL, Cases, prepared, table

CASES, SEED = 8, 11
SLOW = ("predicted target", "run folder: results, drawn")


@pytest.fixture(scope="module")
def cases_of() -> Iterator[Callable[[str], Cases]]:
    with prepared(SEED) as found:
        yield found


@pytest.mark.parametrize("kind", KINDS)
def test_damaged_files_are_refused_or_harmless(kind: str, cases_of) -> None:
    run = cases_of(kind)
    found = [run(case) for case in range(CASES // (4 if kind in SLOW else 1))]
    assert [outcome for outcome in found if outcome.what not in LEGAL] == []


@pytest.mark.parametrize("kind", KINDS)
def test_a_case_is_the_same_each_time_and_never_the_sample(kind: str, cases_of) -> None:
    samples = cases_of(kind)._samples
    folder = samples.root / KINDS[kind].sample
    path = next(path for glob in KINDS[kind].files for path in sorted(folder.glob(glob)))
    content = path.read_bytes()
    for seed in range(8):
        one, other = (damaged(content, path, np.random.default_rng(seed)) for _ in range(2))
        assert one == other
        assert one[1] != content


def broken(monkeypatch: pytest.MonkeyPatch, cases_of, read, trust="same") -> mutations.Outcome:
    """What is said of a reader that does as `read` after it has read the sample once."""
    kind = Kind("npy", ("x_train.npy",), lambda _samples, _folder: "as it was", trust)
    monkeypatch.setitem(mutation_kinds.KINDS, "broken", kind)
    run = cases_of("arrays, npy")
    made = Cases("broken", SEED, run._samples, run._work)
    made._kind = Kind(kind.sample, kind.files, read, trust)
    return made(0)


def test_other_exceptions_are_foreign(monkeypatch, cases_of) -> None:
    def read(_samples, _folder):
        raise KeyError("present")

    outcome = broken(monkeypatch, cases_of, read)
    assert outcome.what == "foreign"
    assert "KeyError" in outcome.message


def test_other_content_under_a_checksum_is_wrong(monkeypatch, cases_of) -> None:
    assert broken(monkeypatch, cases_of, lambda _s, _f: "otherwise").what == "wrong"
    assert broken(monkeypatch, cases_of, lambda _s, _f: "as it was").what == "harmless"
    assert broken(monkeypatch, cases_of, lambda _s, _f: "other", "legal").what == "harmless"


def test_less_than_before_is_harmless_in_an_archive_alone(monkeypatch, cases_of) -> None:
    assert broken(monkeypatch, cases_of, lambda _s, _f: "as it", "earlier").what == "harmless"
    assert broken(monkeypatch, cases_of, lambda _s, _f: "as", "same").what == "wrong"
    assert broken(monkeypatch, cases_of, lambda _s, _f: "it was", "earlier").what == "wrong"


def test_values_out_of_their_domain_are_wrong(monkeypatch, cases_of) -> None:
    def read(_samples, _folder):
        raise OutOfDomain("NaN where finite numbers belong")

    assert broken(monkeypatch, cases_of, read).what == "wrong"


def test_a_reader_that_does_not_end_hangs(monkeypatch, cases_of) -> None:
    def read(_samples, _folder):
        while True:
            pass

    monkeypatch.setattr(mutations, "DEADLINE_S", 1)
    assert broken(monkeypatch, cases_of, read).what == "hang"


def test_the_table_counts_every_case() -> None:
    found = [mutations.Outcome("recipe", n, what, "") for n, what in enumerate(mutations.OUTCOMES)]
    assert "| recipe | 5 | 1 | 1 | 1 | 1 | 1 |" in table(found)
    assert "| all | 5 | 1 | 1 | 1 | 1 | 1 |" in table(found)
