"""Servers of the measurement: started on loopback, waited for, and stopped again."""

import contextlib
import os
import signal
import socket
import subprocess
import time
import urllib.request

START_SECONDS = 60
STOP_SECONDS = 10


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


class Process:
    """A server and its children, which end with it."""

    def __init__(self, command, log, **options):
        self.log = log
        with open(log, "ab") as output:
            self.child = subprocess.Popen(
                [str(word) for word in command],
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
                **options,
            )

    def until(self, ready):
        """Waits for a true value of `ready`, and gives it."""
        end = time.monotonic() + START_SECONDS
        while time.monotonic() < end:
            if self.child.poll() is not None:
                raise RuntimeError(f"it ended with {self.child.returncode}: {self.last_line()}")
            value = ready()
            if value:
                return value
            time.sleep(0.05)
        raise RuntimeError(f"it was not ready within {START_SECONDS} s: {self.last_line()}")

    def answers(self, url):
        """Waits until the URL gives an answer of success."""

        def ready():
            with contextlib.suppress(OSError):
                return urllib.request.urlopen(url, timeout=2).status < 300

        self.until(ready)

    def listens(self, port):
        def ready():
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 2):
                return True

        self.until(ready)

    def said(self):
        with open(self.log, encoding="utf-8", errors="replace") as log:
            return log.read().splitlines()

    def last_line(self):
        return next((line for line in reversed(self.said()) if line.strip()), "it said nothing")

    def stop(self, how=signal.SIGTERM):
        if self.child.poll() is None:
            self.child.send_signal(how)
            with contextlib.suppress(subprocess.TimeoutExpired):
                self.child.wait(STOP_SECONDS)
        # Whoever is left of its session, itself too if it did not listen.
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.child.pid, signal.SIGKILL)
        self.child.wait()


def start_redis(directory):
    """Redis as all who are on Redis here have it; gives the process and its port."""
    port, data = free_port(), directory / "redis"
    data.mkdir()
    options = ["--appendonly", "yes", "--appendfsync", "everysec", "--save", ""]
    command = ["redis-server", "--bind", "127.0.0.1", "--port", port, "--dir", data, *options]
    process = Process(command, directory / "redis.log")
    try:
        process.listens(port)
    except BaseException:
        process.stop()
        raise
    return process, port


def busy(seconds=0.2):
    """How much of the processors' time all processes use meanwhile, from 0 to 1."""

    def ticks():
        with open("/proc/stat", encoding="ascii") as stat:
            fields = [int(field) for field in stat.readline().split()[1:9]]
        return fields[3] + fields[4], sum(fields)

    idle, total = ticks()
    time.sleep(seconds)
    idle_later, total_later = ticks()
    return 1 - (idle_later - idle) / max(total_later - total, 1)


def settle(most=1.5):
    """Waits until what the last measurement left to be done is done, within bounds."""
    end = time.monotonic() + most
    while busy() > 0.08 and time.monotonic() < end:
        pass
