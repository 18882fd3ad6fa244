"""A database that several drivers share: waiting while it is away, and reserving networks in it.

A driver is a process that runs a search and writes evaluations to the database.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import json
import logging
import math
import random
import threading
import time
import uuid
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeVar

import sqlalchemy as sql
from sqlalchemy.exc import (
    DBAPIError,
    InterfaceError,
    OperationalError,
    PendingRollbackError,
    SQLAlchemyError,
)
from sqlalchemy.pool import NullPool

from nas.settings.urls import shown
from search_spaces.space import Genotype

PATIENCE_S = 600.0  # a database that is away for longer ends the search
LEASE_S = 60.0  # a reservation ends this long after the last sign of life of its driver
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.25, 10.0
_ALONE = ""  # the row of a study that a driver locks while it adds trials
_REACHED: set[str] = (
    set()
)  # URLs that answered this process: they are right, so waiting makes sense
_LOG = logging.getLogger(__name__)

T = TypeVar("T")

RESERVATIONS = sql.Table(
    "nas_reservations",
    sql.MetaData(),
    sql.Column("study", sql.String(512), primary_key=True),
    sql.Column("network", sql.String(32), primary_key=True),  # a digest of the genotype
    sql.Column("genotype", sql.Text, nullable=False),
    sql.Column("driver", sql.String(32), nullable=False),
    sql.Column("until", sql.Float, nullable=False),  # seconds, by the clock of the database
)
_NOW = sql.cast(sql.extract("epoch", sql.func.now()), sql.Float)


def connection_options(url: str) -> dict[str, Any]:
    """The options of SQLAlchemy's engine for `url`.

    Each use opens a connection and closes it again, so a server may be restarted between uses. A
    server that does not answer is an error after a timeout.
    """
    options: dict[str, Any] = {"poolclass": NullPool}
    if url.startswith("postgresql"):
        options["connect_args"] = {
            "connect_timeout": 10,
            "keepalives_idle": 20,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 30_000,
        }
    return options


def patiently(url: str, action: Callable[[], T]) -> T:
    """The result of `action`, which is repeated while the database is away, up to `PATIENCE_S`.

    A warning is logged when the waiting begins and when it ends. A database that never answered
    this process is not waited for, since its URL may be wrong.

    Args:
        url: The URL of the database.
        action: A function that may be called again after it failed at any point.
    """
    away_since: float | None = None
    wait = _FIRST_WAIT_S
    while True:
        try:
            result = action()
        except Exception as error:
            now = time.monotonic()
            first, away_since = away_since is None, away_since or now
            left = away_since + PATIENCE_S - now
            if not _is_away(error) or url not in _REACHED or left <= 0:
                raise
            if first:
                _LOG.warning(
                    "the database %s is away (%s); trying again for %g minutes, nothing is lost",
                    *(shown(url), cause_of(error), PATIENCE_S / 60),
                )
            time.sleep(min(wait * random.uniform(0.5, 1.0), left))  # no secret
            wait = min(2 * wait, _LONGEST_WAIT_S)
            continue
        if away_since is not None:
            waited = time.monotonic() - away_since
            _LOG.warning("the database %s is back after %.0f s", shown(url), waited)
        return result


def _is_away(error: BaseException | None) -> bool:
    """Whether an error means that the database is away: no connection, or a broken one."""
    # Optuna asks again on a connection that broke, hence an error about its transaction.
    if isinstance(error, OperationalError | InterfaceError | PendingRollbackError):
        return True
    if isinstance(error, DBAPIError) and error.connection_invalidated:
        return True
    return error is not None and _is_away(error.__cause__)


def cause_of(error: BaseException) -> str:
    """The message of the database or of its client library, in one line."""
    chain = [error]
    while (before := chain[-1].__cause__ or chain[-1].__context__) is not None:
        chain.append(before)
    said = [one.orig for one in chain if isinstance(one, DBAPIError) and one.orig is not None]
    return " ".join(str(said[-1] if said else error.__cause__ or error).split())


class Reservations:
    """A database table of the networks that drivers are measuring, for one study.

    A driver renews its reservations while it lives; `LEASE_S` after its death, other drivers may
    take them. Times are those of the database's clock. While the database was away, no driver
    could renew, so for `LEASE_S` after its return no reservation is taken from another driver.

    Args:
        url: The URL of the database; after a first connection it is known to be right.
        study: The name of the study.
    """

    def __init__(self, url: str, study: str) -> None:
        self._engine = sql.create_engine(url, **connection_options(url))
        self._study = study
        self._driver = uuid.uuid4().hex
        self._held: set[Genotype] = set()
        self._away = -math.inf
        self._ended = threading.Event()
        self._ended.set()
        with self._engine.connect():
            _REACHED.add(url)
        RESERVATIONS.metadata.create_all(self._engine)
        with self._engine.begin() as connection:
            if connection.scalar(sql.select(RESERVATIONS.c.until).where(self._are(_ALONE))) is None:
                connection.execute(sql.insert(RESERVATIONS), [self._row(_ALONE, "", 0.0)])

    @contextmanager
    def alone(self) -> Iterator[None]:
        """A context that only one process at a time can be in, per study.

        The lock ends with the process or its connection. SQLite has a single lock, which the
        process itself needs inside, so for SQLite the lock is on a separate file.
        """
        if self._engine.dialect.name == "sqlite":
            with Path(f"{self._engine.url.database}.lock").open("ab") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield
            return
        with self._engine.begin() as connection:  # limited, as a process may be stopped in here
            connection.execute(sql.text("SET LOCAL lock_timeout = '30s'"))
            limit = "SET LOCAL idle_in_transaction_session_timeout = '60s'"
            connection.execute(sql.text(limit))
            connection.execute(sql.update(RESERVATIONS).where(self._are(_ALONE)).values(until=0.0))
            yield

    def take(self, genotypes: Sequence[Genotype]) -> list[Genotype]:
        """Reserve and return those of `genotypes` that no other driver has reserved."""
        with self.alone(), self._engine.begin() as connection:
            taken = self._others(connection)
            free = [genotype for genotype in genotypes if genotype not in taken]
            if free:
                until = float(connection.scalar(sql.select(_NOW)) or 0.0) + LEASE_S
                rows = [self._row(_key(one), _text(one), until) for one in free]
                are = self._are(*(row["network"] for row in rows))
                connection.execute(sql.delete(RESERVATIONS).where(are))
                connection.execute(sql.insert(RESERVATIONS), rows)
        self._held.update(free)
        if free and self._ended.is_set():
            self._ended = threading.Event()
            threading.Thread(target=self._live, args=(self._ended,), daemon=True).start()
        return free

    def others(self) -> set[Genotype]:
        """The genotypes that other drivers are measuring."""
        with self._engine.connect() as connection:
            return self._others(connection)

    def free(self, genotypes: Iterable[Genotype]) -> None:
        """Give back the reservations of `genotypes`, measured or left to other drivers."""
        if done := self._held & {*genotypes}:
            mine = self._are(*map(_key, done)), RESERVATIONS.c.driver == self._driver
            with self._engine.begin() as connection:
                connection.execute(sql.delete(RESERVATIONS).where(*mine))
            self._held -= done

    def end(self) -> None:
        """Give back all reservations, and stop renewing them."""
        self._ended.set()
        with contextlib.suppress(
            SQLAlchemyError
        ):  # without it, reservations end when their time is over
            self.free({*self._held})

    def _others(self, connection: sql.Connection) -> set[Genotype]:
        """The genotypes of other drivers that live.

        A driver has died if its time `until` has passed, unless the database was away.
        """
        of_study = RESERVATIONS.c.study == self._study, RESERVATIONS.c.network != _ALONE
        held = sql.select(RESERVATIONS.c.genotype).where(
            *of_study, RESERVATIONS.c.driver != self._driver
        )
        if time.monotonic() > self._away + LEASE_S:
            held = held.where(RESERVATIONS.c.until > _NOW)
        return {tuple(json.loads(text)) for text in connection.scalars(held)}

    def _live(self, ended: threading.Event) -> None:
        renewed = sql.update(RESERVATIONS).where(RESERVATIONS.c.driver == self._driver)
        while not ended.wait(LEASE_S / 4):
            try:
                with self._engine.begin() as connection:
                    connection.execute(renewed.values(until=_NOW + LEASE_S))
            except SQLAlchemyError:  # the search meets the same error and reports it
                self._away = time.monotonic()

    def _row(self, network: str, genotype: str, until: float) -> dict[str, Any]:
        whose = {"study": self._study, "driver": self._driver}
        return {**whose, "network": network, "genotype": genotype, "until": until}

    def _are(self, *networks: str) -> sql.ColumnElement[bool]:
        mine = RESERVATIONS.c.study == self._study
        return sql.and_(mine, RESERVATIONS.c.network.in_(networks))


def _text(genotype: Genotype) -> str:
    return json.dumps(genotype, separators=(",", ":"))


def _key(genotype: Genotype) -> str:
    return hashlib.sha256(_text(genotype).encode()).hexdigest()[:32]
