"""A real PostgreSQL server for tests: its own data, a socket and no port."""

from __future__ import annotations

import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest


@dataclass(frozen=True)
class Server:
    """A running server.

    Attributes:
        binaries: Where `pg_ctl` is.
        folder: Data and socket.
        user: Whose processes they are.
    """

    binaries: Path
    folder: Path
    user: str

    def control(self, *arguments: str) -> None:
        """`pg_ctl ARGUMENTS` on the server's data."""
        data, log = self.folder / "data", self.folder / "log"
        self.run("pg_ctl", "-D", str(data), "-l", str(log), "-w", *arguments)

    def start(self) -> None:
        """Begin to serve."""
        self.control("-o", f"-c listen_addresses='' -k {self.folder} -F", "start")

    def run(self, program: str, *arguments: str) -> None:
        """One of the server's programs, as its user; the server refuses to be root's."""
        subprocess.run(
            [self.binaries / program, *arguments],
            user=self.user,
            cwd=self.folder,
            check=True,
            stdout=subprocess.DEVNULL,
        )

    def url(self, database: str) -> str:
        """Where an archive lies."""
        return f"postgresql://nas@/{database}?host={self.folder}"


def server_binaries() -> Path:
    """The folder of `initdb` and `pg_ctl`; the test is skipped where there is none."""
    pytest.importorskip("psycopg", reason="psycopg is not installed: elastic-nas[postgres]")
    found = shutil.which("pg_ctl")
    folders = [Path(found).resolve().parent] if found else []
    folders += sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)
    for folder in folders:
        if (folder / "initdb").exists():
            return folder
    pytest.skip(
        "no PostgreSQL server: initdb is neither on the path nor in /usr/lib/postgresql; "
        "apt-get install postgresql"
    )


def _user() -> str:
    """Who may run a server: this user, or where that is root the one of Debian's package."""
    if os.geteuid() != 0:
        return pwd.getpwuid(os.geteuid()).pw_name
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        pytest.skip("a PostgreSQL server refuses to run as root, and there is no user postgres")


@contextmanager
def started() -> Iterator[Server]:
    """A new server, gone afterwards."""
    binaries, user = server_binaries(), _user()
    folder = Path(tempfile.mkdtemp(prefix="nas-pg-"))  # short: it holds a socket
    server = Server(binaries, folder, user)
    try:
        shutil.chown(folder, user)
        server.run("initdb", "-D", str(folder / "data"), "-A", "trust", "-U", "nas", "--no-sync")
        server.start()
        try:
            yield server
        finally:
            server.control("-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder)
