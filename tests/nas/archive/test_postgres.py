"""The archive in a real PostgreSQL server, with several processes at once."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sql

from nas.archive import database
from nas.archive.archive import Archive, ArchiveError
from nas.files.durable import WriteError
from nas.testing.archive import ArchiveContract, evaluated
from search_spaces.space import SearchSpace
from tests.nas.archive.postgres import Server, started
from tests.nas.spaces import measured, small_space

NUMBERS = itertools.count()


@pytest.fixture(scope="module")
def server() -> Iterator[Server]:
    with started() as server:
        yield server


@pytest.fixture
def location(server: Server) -> str:
    """A new database."""
    name = f"nas{next(NUMBERS)}"
    server.run("createdb", "-h", str(server.folder), "-U", "nas", name)
    return server.url(name)


@pytest.fixture(scope="module")
def space() -> SearchSpace:
    return small_space()


@pytest.fixture(scope="module")
def other_space() -> SearchSpace:
    return small_space(channels=3)


class TestPostgresArchive(ArchiveContract):
    pass


DRIVER = """
import json, sys, time
from nas.archive.archive import Archive
from nas.search.loop import search_asynchronously
from nas.search.random import RandomSearch
from tests.nas.spaces import measured, small_space

url, name, budget = sys.argv[1], sys.argv[2], int(sys.argv[3])
space = small_space()
archive = Archive(url, space, study="net")
told = []

class Told(RandomSearch):
    def tell(self, evaluations):
        super().tell(evaluations)
        told.extend(evaluation.where for evaluation in evaluations)

def others():
    archive.refresh()
    return [e for e in archive.evaluations() if e.where != name]

def measure(genotypes):
    for count, genotype in enumerate(genotypes):
        while count == 3 and len(others()) < 3:  # so that both are at work
            time.sleep(0.01)
        yield [measured(genotype, where=name)]

def progress(done, budget, latest):
    for evaluation in latest:
        if evaluation.where == name:
            print(json.dumps(evaluation.genotype), flush=True)

searcher = Told(space, seed=len(name))
search_asynchronously(searcher, measure, archive, budget=budget, progress=progress)
print(json.dumps({"told": {where: told.count(where) for where in sorted(set(told))}}))
"""


def driver(location: str, name: str, budget: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", DRIVER, location, name, str(budget)],
        stdout=subprocess.PIPE,
        text=True,
    )


def test_two_drivers_at_once_lose_nothing_keep_nothing_twice_and_use_each_other_s(
    location: str, space: SearchSpace
) -> None:
    drivers = [driver(location, name, 20) for name in ("a", "bb")]
    answers = [one.communicate(timeout=300)[0].splitlines() for one in drivers]
    assert [one.returncode for one in drivers] == [0, 0]
    archived = Archive(location, space, study="net").evaluations()
    assert len({e.genotype for e in archived}) == len(archived)
    assert 20 <= len(archived) <= 21, "one more may be under way when the budget is spent"
    own = [{tuple(json.loads(line)) for line in lines[:-1]} for lines in answers]
    assert own[0] | own[1] == {e.genotype for e in archived}
    assert all(e == measured(e.genotype, where=e.where) for e in archived)
    for name, other, lines in (("a", "bb", answers[0]), ("bb", "a", answers[1])):
        told = json.loads(lines[-1])["told"]
        assert told[other] >= 3
        assert told[name] >= 3


def test_what_a_killed_driver_archived_stays_and_the_other_goes_on(
    location: str, space: SearchSpace
) -> None:
    killed, other = driver(location, "a", 10_000), driver(location, "bb", 24)
    assert killed.stdout is not None
    acknowledged = [tuple(json.loads(killed.stdout.readline())) for _ in range(6)]
    killed.kill()
    acknowledged += [tuple(json.loads(line)) for line in killed.stdout]
    killed.stdout.close()
    killed.wait(timeout=300)
    other.communicate(timeout=300)
    assert (killed.returncode, other.returncode) == (-9, 0)
    archive = Archive(location, space, study="net")
    assert len(archive) >= 24
    assert all(archive.get(genotype) is not None for genotype in acknowledged)


def test_a_restarted_server_has_everything_and_the_archive_goes_on(
    server: Server, location: str, space: SearchSpace, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database, "PATIENCE_S", 0.2)
    archive, evaluations = Archive(location, space, study="net"), evaluated(space, 4)
    for evaluation in evaluations[:2]:
        archive.append(evaluation)
    server.control("-m", "fast", "stop")
    try:
        with pytest.raises(WriteError, match=r"database .* cannot be used"):
            archive.append(evaluations[2])
        with pytest.raises(WriteError, match="cannot be used"):
            Archive(location, space, study="net")
    finally:
        server.start()
    for evaluation in evaluations[2:]:
        archive.append(evaluation)
    assert Archive(location, space, study="net").evaluations() == evaluations


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["stopped", "killed", "frozen"])
def test_two_drivers_go_on_when_the_server_was_away_and_measure_nothing_twice(
    server: Server, location: str, space: SearchSpace, tmp_path: Path, fault: str
) -> None:
    known = Archive(tmp_path / "known.journal", space, study="net")
    known.append(*evaluated(space, 30))
    drivers = []
    for name in ("a", "bb"):
        command = [sys.executable, "-c", SHARING, location, str(tmp_path / "known.journal"), name]
        with (tmp_path / name).open("w") as words:
            drivers.append(
                subprocess.Popen(command, stdout=subprocess.PIPE, stderr=words, text=True)
            )
    lines = []
    for one in drivers:
        assert one.stdout is not None
        lines.append(one.stdout.readline())
    away(server, fault, seconds=3.0)
    for one in drivers:  # `communicate` would lose what `readline` has read ahead
        assert one.stdout is not None
        lines += one.stdout
        one.stdout.close()
    assert [one.wait(timeout=300) for one in drivers] == [0, 0]
    archive = Archive(location, space, study="net")
    found = archive.evaluations()[30:]
    assert archive.evaluations()[:30] == known.evaluations()
    assert 40 <= len(found) <= 41
    measured_here = [tuple(json.loads(line)) for line in lines]
    assert sorted(measured_here) == sorted(e.genotype for e in found), "each measured once"
    assert trials(location) == len(archive), "nothing stands twice"
    for name in ("a", "bb"):
        text = (tmp_path / name).read_text()
        assert "Traceback" not in text
        if fault != "frozen":  # then it answers late
            assert text.count("is away") == text.count("is back after") >= 1


def away(server: Server, fault: str, *, seconds: float) -> None:
    """Take the server away and bring it back."""
    pid = int((server.folder / "data" / "postmaster.pid").read_text().split()[0])
    if fault == "frozen":
        os.kill(pid, signal.SIGSTOP)
        time.sleep(seconds)
        os.kill(pid, signal.SIGCONT)
        return
    server.control("-m", "fast" if fault == "stopped" else "immediate", "stop")
    time.sleep(seconds)
    server.start()


def trials(location: str) -> int:
    url = location.replace("postgresql://", "postgresql+psycopg://")
    with sql.create_engine(url, poolclass=sql.NullPool).connect() as connection:
        return connection.scalar(sql.text("SELECT count(*) FROM trials"))


SHARING = """
import json, sys, time
from pathlib import Path
from nas.archive.archive import Archive
from nas.archive.sharing import merge_archives
from nas.search.loop import search_asynchronously
from nas.search.random import RandomSearch
from tests.nas.spaces import measured, small_space

url, known, name = sys.argv[1:]
space = small_space()
archive = Archive(url, space, study="net")
merge_archives(archive, [Archive(known, space, study="net")])

def measure(genotypes):
    for genotype in genotypes:
        time.sleep(0.05)
        print(json.dumps(genotype), flush=True)
        yield [measured(genotype, where=name)]

search_asynchronously(RandomSearch(space, seed=0), measure, archive, budget=40, known=30)
"""


def test_a_database_that_is_missing_is_named_and_a_password_refused(
    server: Server, space: SearchSpace
) -> None:
    location = server.url("missing")
    with pytest.raises(WriteError, match='"missing" does not exist'):
        Archive(location, space, study="net")
    with pytest.raises(ArchiveError, match="PGPASSWORD") as caught:
        Archive(location.replace("nas@", "nas:secret@"), space, study="net")
    assert "secret" not in str(caught.value)


def test_a_database_is_read_without_a_table_or_a_row_made(
    location: str, space: SearchSpace
) -> None:
    with pytest.raises(WriteError, match="does not exist"):
        Archive(location, space, study="net", read_only=True)
    written = Archive(location, space, study="net")
    written.append(*evaluated(space, 3))
    read = Archive(location, space, study="net", read_only=True)
    assert read.evaluations() == written.evaluations()
    with pytest.raises(ArchiveError, match="no study 'other'"):
        Archive(location, space, study="other", read_only=True)
    with pytest.raises(ArchiveError, match="opened to be read"):
        read.append(*evaluated(space, 4))
