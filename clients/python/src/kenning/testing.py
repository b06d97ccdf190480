"""A real server for tests.

    from kenning.testing import server

    def test_my_agent():
        with server() as kenning:
            kb = kenning.client()
            kb.store("Mia keeps a cat, a dog and two parrots.")

The package comes with a fixture of pytest, `kenning_server`: one server for the session. Give
each test a tenant of its own, as `kenning_server.client(tenant="test-1")`: without keys, a tenant
exists from its first fact.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue

from .aio import AsyncKenning
from .client import Kenning

# Seconds. A start or a stop that takes longer has failed.
PATIENCE = 60.0

_LISTENS = "listening on "


class ServerFailed(RuntimeError):
    """The server did not start. The message has what it said."""


@dataclass(frozen=True, slots=True)
class Server:
    """A running server.

    Attributes:
        url: Its address.
        pid: Its process.
        data_dir: Where its data is.
        admin_key: The operator's key, if it was started with one.
    """

    url: str
    pid: int
    data_dir: Path
    admin_key: str | None = None

    def client(
        self, *, tenant: str | None = None, key: str | None = None, timeout: float = 30.0
    ) -> Kenning:
        """A client of this server."""
        return Kenning(self.url, key, tenant=tenant, timeout=timeout)

    def async_client(
        self, *, tenant: str | None = None, key: str | None = None, timeout: float = 30.0
    ) -> AsyncKenning:
        """A client of this server, for asyncio."""
        return AsyncKenning(self.url, key, tenant=tenant, timeout=timeout)


def binary() -> str:
    """The server's binary: `KENNING_BINARY`, the one of this package's wheel, or of the PATH.

    Raises:
        ServerFailed: There is none.
    """
    named = os.environ.get("KENNING_BINARY")
    if named:
        if not os.access(named, os.X_OK):
            raise ServerFailed(f"KENNING_BINARY names {named}, which cannot be run")
        return named
    # The wheel's binary is beside Python's own.
    beside = Path(sys.executable).with_name("kenning")
    found = str(beside) if os.access(beside, os.X_OK) else shutil.which("kenning")
    if found is None:
        raise ServerFailed(
            "there is no binary `kenning`: install a wheel of this package that has it, put it "
            "on the PATH, or name it in KENNING_BINARY"
        )
    return found


@contextmanager
def server(
    *,
    storage: str | None = None,
    layout: str | None = None,
    embedder: str = "hash",
    listen: str = "127.0.0.1:0",
    data_dir: str | os.PathLike[str] | None = None,
    config: str | None = None,
    admin_key: str | None = None,
    environment: Mapping[str, str] | None = None,
) -> Iterator[Server]:
    """Starts a server on a free port, waits until it listens, and ends it afterwards.

    Args:
        storage: Such as `redis://127.0.0.1:6379`; otherwise embedded, in the data directory.
        layout: `flat` or `tenant`, for Redis.
        embedder: The default, `hash`, needs no model; it finds texts with the same words.
        listen: Its address; the default takes a free port.
        data_dir: Kept afterwards. Without it, a directory that is deleted.
        config: The text of a `kenning.toml`.
        admin_key: With it, callers need keys.
        environment: Further variables. Other variables that begin with `KENNING_` are not passed
            on, so that a test does not depend on the shell that it runs in.

    Raises:
        ServerFailed: It did not start.
    """
    own = tempfile.mkdtemp(prefix="kenning-test-")
    try:
        directory = Path(data_dir) if data_dir is not None else Path(own) / "data"
        command = [binary(), "serve", "--listen", listen, "--data-dir", str(directory)]
        if storage is not None:
            command += ["--storage", storage]
        if layout is not None:
            command += ["--layout", layout]
        if config is not None:
            path = Path(own) / "kenning.toml"
            path.write_text(config)
            command += ["--config", str(path)]
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("KENNING_")}
        settings = {"KENNING_EMBEDDER": embedder, "KENNING_LOG": "error"}
        if admin_key is not None:
            settings["KENNING_ADMIN_KEY"] = admin_key
        environ = {**inherited, **settings, **(environment or {})}
        log_path = Path(own) / "log"
        with open(log_path, "wb") as log:
            process = subprocess.Popen(
                command,
                env=environ,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=log,
            )
        try:
            url = _address(process, log_path)
            yield Server(url, process.pid, directory, admin_key)
        finally:
            _end(process)
    finally:
        shutil.rmtree(own, ignore_errors=True)


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    said: SimpleQueue[str] = SimpleQueue()
    assert process.stdout is not None
    output = process.stdout

    def read() -> None:
        # On to its end, so that the server is never held up by a full pipe.
        for line in output:
            said.put(line.decode(errors="replace").strip())
        said.put("")

    threading.Thread(target=read, daemon=True).start()
    try:
        line = said.get(timeout=PATIENCE)
    except Empty:
        raise ServerFailed(f"kenning did not say that it listens within {PATIENCE:g} s") from None
    if not line.startswith(_LISTENS):
        process.wait(timeout=PATIENCE)
        raise ServerFailed(f"kenning did not start: {log.read_text(errors='replace').strip()}")
    return line.removeprefix(_LISTENS)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(timeout=PATIENCE)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
