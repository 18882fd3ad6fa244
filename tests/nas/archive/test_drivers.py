"""Several drivers of one database: nothing is measured or copied twice, nothing is left undone."""

from __future__ import annotations

import contextlib
import sqlite3
import threading
import time
from collections.abc import Iterable, Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql
from sqlalchemy.exc import OperationalError

from nas.archive import database
from nas.archive.archive import Archive, ArchiveError
from nas.archive.sharing import merge_archives
from nas.archive.studies import seal_database
from nas.evaluation.answers import Answers
from nas.evaluation.evaluation import Evaluation
from nas.files.durable import WriteError
from nas.search import loop
from nas.search.loop import search, search_asynchronously
from nas.search.random import RandomSearch
from nas.search.searcher import Searcher
from nas.testing.archive import ArchiveContract, evaluated
from search_spaces.space import Genotype, SearchSpace
from tests.nas.spaces import measured, small_space, tiny_space

LEASE_S = 2.0  # SQLite's clock counts seconds


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return small_space()


@pytest.fixture(scope="module")
def other_space() -> SearchSpace:
    return small_space(channels=3)


@pytest.fixture
def location(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path / 'shared.db'}"


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Waits that a test can afford."""
    monkeypatch.setattr(database, "_FIRST_WAIT_S", 0.01)
    monkeypatch.setattr(loop, "_PAUSE_S", 0.02)


def opened(location: str, space: SearchSpace) -> Archive:
    return Archive(location, space, study="net")


class TestSqliteArchive(ArchiveContract):
    pass


class Noted:
    """An evaluator of one driver that notes in a shared list what it measured."""

    def __init__(self, name: str, log: list[tuple[str, Genotype]], *, seconds: float = 0) -> None:
        self.name, self.log, self.seconds = name, log, seconds

    def __call__(self, genotypes: Iterable[Genotype]) -> Iterator[list[Evaluation]]:
        for genotype in genotypes:
            time.sleep(self.seconds)
            self.log.append((self.name, genotype))
            yield [measured(genotype, where=self.name)]


def asynchronous(searcher: Searcher, evaluate: Noted, archive: Archive) -> None:
    search_asynchronously(searcher, evaluate, archive, budget=16)


def synchronous(searcher: Searcher, evaluate: Noted, archive: Archive) -> None:
    search(searcher, evaluate, archive, budget=16, batch=4)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", [asynchronous, synchronous])
def test_two_drivers_that_propose_the_same_measure_nothing_twice(
    location: str, space: SearchSpace, how
) -> None:
    log: list[tuple[str, Genotype]] = []
    archives = [opened(location, space) for _ in range(2)]
    drivers = [
        threading.Thread(
            target=how,
            args=(RandomSearch(space, seed=0), Noted(name, log, seconds=0.01), archive),
        )
        for name, archive in zip("ab", archives, strict=True)
    ]
    for driver in drivers:
        driver.start()
    for driver in drivers:
        driver.join()
    genotypes = [genotype for _, genotype in log]
    assert len(set(genotypes)) == len(genotypes)
    if how is asynchronous:  # by batches, equal proposals may always be the other's already
        assert {name for name, _ in log} == {"a", "b"}
    found = opened(location, space)
    assert 16 <= len(found) <= 17
    assert {e.genotype for e in found.evaluations()} == set(genotypes)


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("how", [asynchronous, synchronous])
def test_what_a_dead_driver_reserved_is_measured_by_another(
    location: str, how, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LEASE_S", LEASE_S)
    space = tiny_space()
    every = RandomSearch(space, seed=0).ask(4)
    dead = database.Reservations(location, "net")
    opened(location, space)
    assert dead.take(every[:3]) == every[:3]
    dead._ended.set()  # it says no longer that it lives
    log: list[tuple[str, Genotype]] = []
    how(RandomSearch(space, seed=0), Noted("a", log), opened(location, space))
    assert sorted(genotype for _, genotype in log) == sorted(every)


def test_a_driver_that_lives_keeps_what_it_reserved(
    location: str, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "LEASE_S", LEASE_S)
    slow = opened(location, space)
    [one] = slow.reserve([space.smallest])
    first = until(location)
    deadline = time.monotonic() + 60
    while until(location) <= first + LEASE_S:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    slow.append(measured(one))
    other = opened(location, space)
    assert other.elsewhere() == set()
    assert other.reserve([one]) == [], "it is known now"


def until(location: str) -> float:
    with sql.create_engine(location, poolclass=sql.NullPool).connect() as connection:
        text = "SELECT until FROM nas_reservations WHERE network != ''"
        return connection.scalar(sql.text(text))


def test_while_the_database_was_away_nobody_died(
    location: str, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    one, other = (database.Reservations(location, "net") for _ in range(2))
    assert one.take([space.smallest]) == [space.smallest]
    one._ended.set()
    altered(location, "UPDATE nas_reservations SET until = 0")
    other._away = time.monotonic()
    assert other.take([space.smallest, space.largest]) == [space.largest]
    assert other.others() == {space.smallest}
    other._away -= database.LEASE_S
    assert other.take([space.smallest]) == [space.smallest]


def test_what_was_not_measured_is_left_at_the_end(location: str, space: SearchSpace) -> None:
    one, other = opened(location, space), opened(location, space)
    with contextlib.suppress(KeyboardInterrupt), one.reserving():
        assert len(one.reserve([space.smallest, space.largest])) == 2
        assert other.elsewhere() == {space.smallest, space.largest}
        one.append(measured(space.largest))
        raise KeyboardInterrupt
    assert other.reserve([space.smallest, space.largest]) == [space.smallest]


def test_more_samples_of_a_network_are_reserved_too(location: str, space: SearchSpace) -> None:
    one, other = opened(location, space), opened(location, space)
    stopped = Evaluation(
        space.smallest, {"error": 1.0}, 0, 0.0, "a", Answers(b"\x00", 8, 16, packed=True)
    )
    one.append(stopped)
    assert one.reserve([space.smallest]) == []
    assert one.reserve([space.smallest], samples=16) == [space.smallest]
    assert other.reserve([space.smallest], samples=16) == []
    assert other.reserve([space.smallest], samples=8) == []


def test_what_is_known_is_copied_once_by_two_drivers_at_once(
    tmp_path: Path, location: str, space: SearchSpace
) -> None:
    known = Archive(tmp_path / "a.journal", space, study="net")
    known.append(*evaluated(space, 30))
    archives = [opened(location, space) for _ in range(2)]
    copies = [threading.Thread(target=merge_archives, args=(one, [known])) for one in archives]
    for copy in copies:
        copy.start()
    for copy in copies:
        copy.join()
    assert opened(location, space).evaluations() == known.evaluations()
    assert count(location) == 30


def count(location: str) -> int:
    with sql.create_engine(location, poolclass=sql.NullPool).connect() as connection:
        return connection.scalar(sql.text("SELECT count(*) FROM trials"))


def altered(location: str, statement: str) -> None:
    with sql.create_engine(location, poolclass=sql.NullPool).begin() as connection:
        connection.execute(sql.text(statement))


VALUE = "UPDATE trial_values SET value = value / 2 WHERE trial_id = 2"
PICK = "UPDATE trial_params SET param_value = 1 - param_value WHERE trial_id = 2"
ATTRIBUTE = "UPDATE trial_user_attributes SET value_json = '7' WHERE trial_id = 2 AND key = "


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        (VALUE, "trial 1 of study 'net' .* digest does not match"),
        (PICK, "trial 1 .* digest does not match"),
        (f"{ATTRIBUTE} 'seed'", "trial 1 .* digest does not match"),
        (f"{ATTRIBUTE} 'loss'", "trial 1 .* digest does not match"),
        (f"{ATTRIBUTE} 'digest'", "trial 1 .* digest does not match"),
        ("DELETE FROM trial_user_attributes WHERE key = 'digest'", "trial 0 .*nas archive seal"),
        ("DELETE FROM trials WHERE trial_id = 2", "trial 2 .* trials before it are lost"),
        ("UPDATE trials SET number = 0 WHERE trial_id = 2", "trials before it are lost or stand"),
        ("UPDATE trials SET state = 'FAIL' WHERE trial_id = 2", "trial 1 .* it is FAIL"),
        ("UPDATE trials SET state = 'RUNNING' WHERE trial_id = 2", "trial 1 .* it is RUNNING"),
    ],
)
def test_a_trial_that_was_altered_is_told(
    location: str, space: SearchSpace, statement: str, message: str
) -> None:
    opened(location, space).append(*evaluated(space, 4))
    altered(location, statement)
    with pytest.raises(ArchiveError, match=message):
        opened(location, space)


def test_a_new_trial_that_was_altered_is_told_to_an_open_archive(
    location: str, space: SearchSpace
) -> None:
    reader = opened(location, space)
    opened(location, space).append(*evaluated(space, 2))
    altered(location, VALUE)
    with pytest.raises(ArchiveError, match="digest does not match"):
        reader.refresh()


class Away:
    """A database that fails a number of times, when it is asked by this thread."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.left, self.struck, self.broken = 0, False, False
        dialect = sql.create_engine("sqlite://").dialect.__class__
        execute = dialect.do_execute

        def run(this, cursor, statement: str, *arguments):
            self.fail(statement)
            execute(this, cursor, statement, *arguments)

        monkeypatch.setattr(dialect, "do_execute", run)
        monkeypatch.setattr(dialect, "is_disconnect", lambda *_: True)

    def fail(self, statement: str) -> None:
        if self.broken and "FROM trial_values" in statement:
            self.broken = False
            raise sqlite3.OperationalError("the connection broke")
        if self.left > 0 and threading.current_thread() is threading.main_thread():
            self.left -= 1
            raise OperationalError("SELECT 1", {}, Exception("the server closed the connection"))


@pytest.mark.usefixtures("quick")
@pytest.mark.parametrize("failures", [1, 2, 7])
def test_a_database_that_is_away_for_a_while_is_waited_for_with_a_word(
    location: str,
    space: SearchSpace,
    failures: int,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    away, archive = Away(monkeypatch), opened(location, space)
    for number, evaluation in enumerate(evaluated(space, 3)):
        away.left = failures
        caplog.clear()
        archive.append(evaluation)
        said = [
            record.message for record in caplog.records if record.name == "nas.archive.database"
        ]
        assert "is away (the server closed the connection); trying again for 10 min" in said[0]
        assert "is back after" in said[-1]
        assert len(archive) == number + 1
    away.left = failures
    assert archive.reserve([space.smallest]) == [space.smallest]
    away.left = failures
    assert opened(location, space).evaluations() == evaluated(space, 3), "one that answered before"


def test_a_connection_that_broke_within_a_look_of_optuna_is_waited_for(
    location: str, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, archive = Away(monkeypatch), opened(location, space)
    opened(location, space).append(*evaluated(space, 3))
    away.broken = True
    archive.refresh()
    assert not away.broken
    assert archive.evaluations() == evaluated(space, 3)


def test_one_that_stays_away_is_an_error_in_the_end(
    location: str, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE_S", 0.1)
    away, archive = Away(monkeypatch), opened(location, space)
    away.left = 10**9
    with pytest.raises(WriteError, match="cannot be used: the server closed"):
        archive.refresh()


def test_one_that_goes_away_while_it_is_opened_is_waited_for(
    location: str, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    away, real = Away(monkeypatch), database.Reservations.__init__

    def begin(this, url: str, study: str) -> None:
        real(this, url, study)
        away.left = int(not away.struck)
        away.struck = True

    monkeypatch.setattr(database.Reservations, "__init__", begin)
    assert len(opened(location, space)) == 0
    assert away.struck


def test_one_that_never_answered_is_not_waited_for(tmp_path: Path, space: SearchSpace) -> None:
    with pytest.raises(WriteError, match="cannot be used"):
        opened(f"sqlite:///{tmp_path / 'missing' / 'shared.db'}", space)


def test_trials_of_an_earlier_version_are_sealed_once(location: str, space: SearchSpace) -> None:
    evaluations = evaluated(space, 4)
    opened(location, space).append(*evaluations[:3])
    altered(location, "DELETE FROM trial_user_attributes WHERE key = 'digest' AND trial_id < 3")
    assert seal_database(location, space, study="net") == 3
    archive = opened(location, space)
    archive.append(evaluations[3])
    assert opened(location, space).evaluations() == evaluations
    altered(location, "UPDATE trial_values SET value = 1.0 WHERE trial_id = 1")
    with pytest.raises(ArchiveError, match=r"trial 0 .* digest"):
        opened(location, space)


def test_sealing_accepts_no_trial_that_is_no_evaluation(location: str, space: SearchSpace) -> None:
    opened(location, space).append(*evaluated(space, 3))
    altered(location, "DELETE FROM trial_user_attributes WHERE key = 'digest'")
    altered(location, VALUE)
    with pytest.raises(ArchiveError, match=r"trial 1 .* its value is"):
        seal_database(location, space, study="net")
