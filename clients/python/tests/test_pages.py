"""The pages of documents for Python: what a reader types is run, and prints what they say."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from kenning.testing import Server, binary

ROOT = Path(__file__).resolve().parents[3]

PAGES = [
    "docs/tutorials/python.md",
    "docs/tutorials/langgraph.md",
    "docs/tutorials/llamaindex.md",
    "clients/python/README.md",
]

# What the tests' own set-up has done in place of the reader.
DONE = {
    "make run",
    "python3 -m venv .venv",
    ". .venv/bin/activate",
    "pip install ./clients/python",
    'pip install "./clients/python[langgraph]"',
    'pip install "./clients/python[llamaindex]"',
    "pip install pytest",
    "export KENNING_BINARY=$PWD/target/release/kenning",
}

_BLOCK = re.compile(r"^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)

_NAMED = re.compile(r"Write this to `([\w.]+)`")


@dataclass
class Block:
    kind: str
    text: str
    before: str
    """What stands between it and the block before."""


def blocks(page: str) -> Iterator[Block]:
    end = 0
    for found in _BLOCK.finditer(page):
        yield Block(found[1], found[2], page[end : found.start()])
        end = found.end()


def commands(text: str) -> Iterator[tuple[str | None, list[str]]]:
    """Each command of a console with what it prints; None for output without a command."""
    command: str | None = None
    output: list[str] = []
    for line in text.splitlines():
        if line.startswith("$ "):
            if command is not None or output:
                yield command, output
            command, output = line[2:], []
        else:
            output.append(line)
    yield command, output


@pytest.fixture(scope="module")
def pages(
    kenning_server: Server, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[dict[str, Future[int]]]:
    """All pages, at once: most of the time goes into starting Python."""
    with ThreadPoolExecutor(len(PAGES)) as threads:
        yield {
            page: threads.submit(
                do, page, kenning_server, f"page-{number}", tmp_path_factory.mktemp("page")
            )
            for number, page in enumerate(PAGES)
        }


@pytest.mark.parametrize("page", PAGES)
def test_a_page_does_what_it_says(page: str, pages: dict[str, Future[int]]) -> None:
    assert pages[page].result() > 0, "it has commands"


def do(page: str, server: Server, tenant: str, folder: Path) -> int:
    """Does what the page says, and compares what is printed; gives how many commands were run."""
    environment = {
        **os.environ,
        "KENNING_SERVER": server.url,
        "KENNING_TENANT": tenant,
        "KENNING_BINARY": binary(),
        "PYTHONDONTWRITEBYTECODE": "1",
    }
    run = 0

    def printed(arguments: list[str]) -> list[str]:
        ran = subprocess.run(
            [sys.executable, *arguments],
            cwd=folder,
            env=environment,
            capture_output=True,
            text=True,
            timeout=120,
        )
        assert ran.returncode == 0, ran.stderr + ran.stdout
        return ran.stdout.splitlines()

    last = ""
    for block in blocks((ROOT / page).read_text()):
        if block.kind == "python":
            named = _NAMED.search(block.before)
            last = named[1] if named else "block.py"
            (folder / last).write_text(block.text)
        elif block.kind == "console":
            for command, output in commands(block.text):
                if command in DONE:
                    assert output == []
                    continue
                if command is None:
                    # What the program just above prints.
                    arguments = [last]
                else:
                    program, *arguments = shlex.split(command)
                    assert program == "python", f"{command}: nobody runs this"
                said = printed(arguments)
                run += 1
                if output:
                    assert said == output, command
        else:
            assert "<!--" in block.before, "says why it is not run"
    return run
