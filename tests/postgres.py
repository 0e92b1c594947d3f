"""A PostgreSQL server for tests, from the system's own package, on a socket in a temporary folder."""

from __future__ import annotations

import itertools
import os
import pwd
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PATIENCE = 120  # seconds


def binaries() -> Path | None:
    """The folder of the newest server's programs, or None; Debian keeps them out of the PATH."""
    found = shutil.which("initdb")
    places = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    places += [Path(found).resolve()] if found else []
    return next((path.parent for path in reversed(places) if (path.parent / "createdb").is_file()), None)


class Server:
    """A running server; each `database()` is a new and empty one."""

    def __init__(self, programs: Path, folder: Path, user: str | None) -> None:
        self.programs, self.folder, self.user = programs, folder, user
        self._numbers = itertools.count()

    def database(self) -> str:
        """The address of a new database."""
        name = f"explorer_{next(self._numbers)}"
        where = ["-h", str(self.folder), "-U", "explorer"]
        self.run("createdb", *where, name)
        return f"postgresql://explorer@/{name}?host={self.folder}"

    def run(self, program: str, *arguments: str) -> None:
        """Runs one of the server's programs to its end, not as root, which the server refuses."""
        command = [str(self.programs / program), *arguments]
        with (self.folder / "log").open("ab") as log:
            subprocess.run(
                command, check=True, user=self.user, cwd=self.folder, stdout=log, stderr=log, timeout=PATIENCE
            )


@contextmanager
def serving(programs: Path) -> Iterator[Server]:
    """A server with an empty cluster, gone with its folder afterwards."""
    user = _user()
    folder = Path(tempfile.mkdtemp(prefix="pg-"))  # short, because a socket's path may have 107 characters
    try:
        if user is not None:
            os.chown(folder, pwd.getpwnam(user).pw_uid, -1)
        server = Server(programs, folder, user)
        server.run("initdb", "-D", f"{folder}/data", "-U", "explorer", "-A", "trust", "-E", "UTF8", "--locale=C")
        options = f"-c listen_addresses='' -c unix_socket_directories={folder} -c max_connections=60"
        server.run("pg_ctl", "-D", f"{folder}/data", "-w", "-t", str(PATIENCE), "-o", options, "start")
        try:
            yield server
        finally:
            server.run("pg_ctl", "-D", f"{folder}/data", "-m", "immediate", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Whom root becomes for the server; None when we are not root."""
    if os.geteuid() != 0:
        return None
    names = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in names else "nobody"
