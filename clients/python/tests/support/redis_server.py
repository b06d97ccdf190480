"""A real Redis of the tests' own, which can be stopped in the middle of everything."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from typing import Any

import redis


class RedisServer:
    """A `redis-server` on a free port, with nothing on disk."""

    def __init__(self) -> None:
        self.port = _free_port()
        self._directory = tempfile.mkdtemp(prefix="kenning-redis-")
        self._process: subprocess.Popen[bytes] | None = None
        self.client = redis.Redis(port=self.port, decode_responses=True)

    @property
    def url(self) -> str:
        return f"redis://127.0.0.1:{self.port}"

    def __enter__(self) -> RedisServer:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.resume()
        self.kill()
        self.client.close()
        shutil.rmtree(self._directory, ignore_errors=True)

    def start(self) -> None:
        """Starts it, on the same port each time, and waits until it answers."""
        assert shutil.which("redis-server"), "there is no redis-server: run `make redis`"
        options = ["--port", str(self.port), "--bind", "127.0.0.1", "--save", ""]
        options += ["--appendonly", "no", "--dir", self._directory]
        self._process = subprocess.Popen(
            ["redis-server", *options], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        end = time.monotonic() + 60
        while True:
            try:
                if self.client.ping():
                    return
            except redis.RedisError:
                assert time.monotonic() < end, "redis-server does not answer"
                time.sleep(0.02)

    def kill(self) -> None:
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def stop(self) -> None:
        """Suspends it: its sockets stay open, and nothing answers."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, which: int) -> None:
        if self._process is not None:
            os.kill(self._process.pid, which)

    def hash(self, key: str) -> dict[str, Any]:
        """The fields of a hash, as another program sees them."""
        found = self.client.hgetall(key)
        assert isinstance(found, dict)
        return found


def _free_port() -> int:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
