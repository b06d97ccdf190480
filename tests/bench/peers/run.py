"""`make bench-peers`: Kenning beside what people use today, in one run on one machine.

All peers are started, each with the same facts, and idle until it is their turn. In each round
every peer is measured once with every verb and number of callers, one after the other, so that a
machine that changes its pace changes it for all. Prints Markdown for docs/BENCHMARKS.md, which says
what the rows mean. A peer that cannot be installed or started is a row that says why.
"""

import argparse
import contextlib
import os
import platform
import shutil
import signal
import sys
import tempfile
import time
from pathlib import Path

from in_process import ChromaEmbedding, Pgvector, QdrantLocal, RedisPy
from over_http import Chroma, Kenning, Service, WasmtimeServe
from processes import busy, settle
from table import CALLERS, is_kenning, print_tables
from workload import Workload

# No measurement begins later, so that the whole run ends within a quarter of an hour.
LAST_START = 13 * 60

# The run is ended from outside of whatever hangs.
END = 15 * 60

SIGNALS = (signal.SIGTERM, signal.SIGINT, signal.SIGALRM)


def peers():
    cores = os.cpu_count() or 1
    workers = [1] if cores == 1 else [1, cores]
    return [
        Kenning("embedded", "hash"),
        Kenning("Redis", "hash"),
        *(Service(count) for count in workers),
        RedisPy(),
        Chroma(),
        Pgvector(),
        QdrantLocal(),
        WasmtimeServe(),
        Kenning("embedded", "local"),
        Kenning("Redis", "local"),
        Service(cores, embeds=True),
        ChromaEmbedding(),
    ]


class Run:
    """Peers that were started, the figures so far, and who failed with what."""

    def __init__(self, settings):
        self.settings = settings
        self.begun = time.monotonic()
        self.ready = []
        self.missing = {}
        self.figures = {}
        self.versions = {}
        self.rounds = 0
        self.idle = 0.0

    def start(self, chosen, workload, directory, stack):
        for at, peer in enumerate(chosen):
            home = directory / str(at)
            home.mkdir()
            stack.callback(peer.stop)
            self.tell(f"starting {peer.name}")
            try:
                peer.set_up(self.settings, workload, home)
                self.versions[peer.name] = peer.version()
                self.ready.append(peer)
            except (Exception, SystemExit) as failure:
                self.missing[peer.name] = f"{type(failure).__name__}: {failure}".splitlines()[0]
                self.tell(f"{peer.name} is not measured: {self.missing[peer.name]}")
                peer.stop()
        self.idle = busy(1.0)

    def measure(self):
        """All rounds, or as many as there is time for."""
        for turn in range(self.settings.rounds):
            self.tell(f"round {turn + 1} of {self.settings.rounds}")
            for callers in CALLERS:
                for verb in ("get", "search", "store", "hello"):
                    for peer in self.ready:
                        if verb not in peer.requests or callers not in peer.callers:
                            continue
                        if time.monotonic() - self.begun > LAST_START:
                            self.tell("the time is over: the last round is not complete")
                            return
                        self.measure_one(turn, peer, verb, callers)
            self.rounds = turn + 1

    def measure_one(self, turn, peer, verb, callers):
        settle()
        seed = 1_000 * turn + 10 * callers + len(verb)
        key = (peer.name, verb, callers)
        try:
            figure = peer.measure(verb, callers, self.settings.seconds, seed)
            self.figures.setdefault(key, []).append(figure)
        except Exception as failure:
            self.missing[key] = f"{type(failure).__name__}: {failure}".splitlines()[0]
            self.tell(f"{peer.name}, {verb}, {callers} callers: {self.missing[key]}")

    def tell(self, text):
        print(f"[{time.monotonic() - self.begun:4.0f} s] {text}", file=sys.stderr, flush=True)


def machine():
    with open("/proc/cpuinfo", encoding="utf-8") as info:
        models = [line.split(":", 1)[1].strip() for line in info if line.startswith("model name")]
    memory = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30
    model = models[0] if models else "an unknown processor"
    return f"{os.cpu_count()} cores of {model}, {memory:.0f} GiB, Linux {platform.release()}"


def arguments():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--generator", required=True, help="the program `bench`")
    parser.add_argument("--kenning", required=True, help="the program `kenning`")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=1.0, help="of each measurement")
    parser.add_argument("--facts", type=int, default=10_000)
    parser.add_argument("--only", default="", help="Kenning, and peers with this in their names")
    settings = parser.parse_args()
    for name in ("generator", "kenning"):
        setattr(settings, name, Path(getattr(settings, name)).absolute())
    return settings


class Stopped(BaseException):
    """By a signal; nobody here takes it for a failure of a peer."""


def stopped(number, _frame):
    # Once: servers are being stopped from now on, which is bounded.
    for other in SIGNALS:
        signal.signal(other, signal.SIG_IGN)
    raise Stopped(f"stopped by {signal.Signals(number).name}")


def main():
    settings = arguments()
    for number in SIGNALS:
        signal.signal(number, stopped)
    signal.alarm(END)
    run = Run(settings)
    with contextlib.ExitStack() as stack:
        directory = Path(tempfile.mkdtemp(prefix="bench-peers-"))
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        workload = Workload(directory, settings.facts)
        chosen = [peer for peer in peers() if is_kenning(peer) or settings.only in peer.name]
        try:
            run.start(chosen, workload, directory, stack)
            run.measure()
        except Stopped as reason:
            run.tell(f"{reason}: what was measured until then follows")
    print_tables(run, chosen, machine())


if __name__ == "__main__":
    main()
