"""The fixture `kenning_server`, which pytest finds by itself."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from .testing import Server, server


@pytest.fixture(scope="session")
def kenning_server() -> Iterator[Server]:
    """A real server, without keys, on embedded storage and the embedder for tests."""
    with server() as running:
        yield running
