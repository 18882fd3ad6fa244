"""Faults of an archive in a database: altered records, an absent server, two drivers at once."""

from __future__ import annotations

import itertools
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import sqlalchemy as sql

from benchmarks.fault_rounds import BUDGET, SPACE, Fault, Round
from nas.archive.archive import Archive, ArchiveError
from nas.files.durable import WriteError
from tests.nas.archive.postgres import Server, started

AWAY_S = 20.0
AWAY = f"database away for {AWAY_S:g} s, two drivers"
_NUMBERS = itertools.count()


class SharedRound(Round):
    """A round whose archive is in a database; a file in its folder names the database.

    Attributes:
        under_way: The number of networks that a killed driver may have measured and not archived.
    """

    under_way = 0

    @property
    def url(self) -> str:
        """The URL of the database: the one that was noted, else that of a file in the folder."""
        noted = self.folder / "url"
        return noted.read_text() if noted.exists() else f"sqlite:///{self.folder / 'shared.db'}"

    def archive(self) -> Archive:
        """The archive with the current content of the database."""
        return Archive(self.url, SPACE, study="net")

    def records(self) -> int:
        """The number of trials in the database."""
        url = self.url.replace("postgresql://", "postgresql+psycopg://")
        with sql.create_engine(url, poolclass=sql.NullPool).connect() as connection:
            return int(connection.scalar(sql.text("SELECT count(*) FROM trials")) or 0)

    def twice(self) -> int:
        """The number of networks measured twice, without those whose driver was killed."""
        log = (self.folder / "log").read_text().splitlines()
        return max(0, len(log) - len({*log}) - self.under_way)

    def start(self) -> subprocess.Popen[bytes]:
        """Start a driver in a process of its own."""
        return subprocess.Popen(
            [sys.executable, "-m", "benchmarks.faults", "--shared", "--in", self.folder]
        )

    def struck(self) -> None:
        """Note that the fault happened."""
        (self.folder / "struck").touch()


def record_altered(round_: Round) -> None:
    """Alter a value in the database; when that is reported, restore the database from a copy."""
    assert isinstance(round_, SharedRound)
    round_.search(budget=int(round_.rng.integers(2, BUDGET)))
    held = round_.folder / "shared.db"
    shutil.copy(held, round_.folder / "copy.db")
    trial = int(round_.rng.integers(1, round_.records() + 1))
    table, column, key = _ALTERED[int(round_.rng.integers(len(_ALTERED)))]
    statement = f"UPDATE {table} SET {column} WHERE trial_id = {trial}{key}"
    with sql.create_engine(round_.url, poolclass=sql.NullPool).begin() as connection:
        connection.execute(sql.text(statement))
    round_.struck()
    try:
        round_.search()
    except ArchiveError:
        shutil.copy(round_.folder / "copy.db", held)
        raise


_ALTERED = (
    ("trial_values", "value = value + 1", ""),
    ("trial_params", "param_value = 1 - param_value", ""),
    ("trial_user_attributes", "value_json = '1.5'", " AND key = 'seconds'"),
    ("trials", "number = number + 1", ""),
)


def two_drivers(round_: Round, meanwhile: Callable[[], None] = lambda: None) -> None:
    """Let two drivers propose the same networks at the same time."""
    assert isinstance(round_, SharedRound)
    drivers = [round_.start() for _ in range(2)]
    while not round_.told:
        time.sleep(0.01)
    round_.struck()
    meanwhile()
    codes = [driver.wait() for driver in drivers]
    if any(codes):
        raise WriteError("a driver did not go on")


def driver_killed(round_: Round) -> None:
    """Kill one of two drivers by SIGKILL; the other measures the networks that it had reserved."""
    assert isinstance(round_, SharedRound)
    drivers = [round_.start() for _ in range(2)]
    while not round_.told:
        time.sleep(0.01)
    time.sleep(float(round_.rng.uniform(0, 1)))
    round_.struck()
    drivers[0].kill()
    round_.under_way = 1
    for driver in drivers:
        driver.wait()


def server_away(server: Server) -> Fault:
    """The fault of a server that stops at a random instant and starts again after a while."""

    def strike(round_: Round) -> None:
        name = f"round{next(_NUMBERS)}"
        server.run("createdb", "-h", str(server.folder), "-U", "nas", name)
        (round_.folder / "url").write_text(server.url(name))

        def meanwhile() -> None:
            time.sleep(float(round_.rng.uniform(0, 1)))
            how = ("fast", "immediate")[int(round_.rng.integers(2))]
            server.control("-m", how, "stop")
            time.sleep(AWAY_S)
            server.start()

        two_drivers(round_, meanwhile)

    return strike


FILE: dict[str, Fault] = {
    "a record in a database altered": record_altered,
    "two drivers on a database": two_drivers,
    "two drivers on a database, one killed": driver_killed,
}


@contextmanager
def on_server() -> Iterator[dict[str, Fault]]:
    """A context with the faults of a PostgreSQL server, which is started for them."""
    with started() as server:
        yield {AWAY: server_away(server)}
