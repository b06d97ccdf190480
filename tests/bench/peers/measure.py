"""One measurement: callers that each send their next call when they have the answer."""

import asyncio
import json
import math
import subprocess
import threading
import time
from typing import NamedTuple

import uvloop

# As long as the load generator warms up.
WARM_UP = 0.4

# A measurement that takes so much longer than it should has failed.
PATIENCE = 30


class Figure(NamedTuple):
    """What one measurement gave."""

    n: int
    seconds: float
    p50_us: float
    p99_us: float

    @property
    def per_second(self):
        return self.n / self.seconds


def figure(times, seconds):
    times = sorted(times)

    def nearest_rank(percent):
        return times[max(math.ceil(len(times) * percent / 100) - 1, 0)] * 1e6

    return Figure(len(times), seconds, nearest_rank(50), nearest_rank(99))


class Request(NamedTuple):
    """Templates of the load generator."""

    method: str
    path: str
    body: str = ""
    headers: tuple = ()


def over_http(generator, url, request, lists, callers, seconds, seed):
    """By `bench callers`, which `generator` runs."""
    command = [generator, "callers", "--url", url, "--callers", callers, "--seconds", seconds]
    command += ["--seed", seed, "--method", request.method, "--path", request.path]
    command += ["--body", request.body]
    for header in request.headers:
        command += ["--header", header]
    templates = request.path + request.body
    for name, path in lists.items():
        if f"<{name}>" in templates or f"<{name}*" in templates:
            command += ["--list", f"{name}:{path}"]
    done = subprocess.run(
        [str(word) for word in command], capture_output=True, text=True, timeout=seconds + PATIENCE
    )
    if done.returncode:
        said = done.stderr.strip().splitlines() or [f"it ended with {done.returncode}"]
        raise RuntimeError(f"the load generator: {said[-1]}")
    return Figure(**json.loads(done.stdout))


def in_tasks(calls, seconds):
    """One task of an event loop for each of `calls`, which are coroutine functions."""

    async def caller(call, end, times):
        while time.perf_counter() < end:
            before = time.perf_counter()
            await call()
            times.append(time.perf_counter() - before)

    async def all_of_them(span):
        times, begun = [], time.perf_counter()
        await asyncio.gather(*(caller(call, begun + span, times) for call in calls))
        return figure(times, time.perf_counter() - begun)

    async def measured():
        await all_of_them(WARM_UP)
        return await all_of_them(seconds)

    return asyncio.wait_for(measured(), seconds + PATIENCE)


def in_threads(call, callers, seconds):
    """One thread for each caller."""

    def caller(end, times, failures):
        try:
            while time.perf_counter() < end:
                before = time.perf_counter()
                call()
                times.append(time.perf_counter() - before)
        except Exception as failure:  # The measurement fails, which the table says.
            failures.append(failure)

    def all_of_them(span):
        times, failures, begun = [], [], time.perf_counter()
        arguments = (begun + span, times, failures)
        # Daemons, so that one which hangs does not hold up the end of the run.
        threads = [
            threading.Thread(target=caller, args=arguments, daemon=True) for _ in range(callers)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        if failures:
            raise failures[0]
        return figure(times, time.perf_counter() - begun)

    all_of_them(WARM_UP)
    return all_of_them(seconds)


def in_turn(call, seconds):
    """One caller, in this thread."""
    return in_threads(call, 1, seconds)


def run(coroutine):
    """On an event loop of its own, of the kind that services use."""
    return uvloop.run(coroutine)
