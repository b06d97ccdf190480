"""Tenants with settings of their own."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from contextlib import contextmanager

import httpx

from kenning import Kenning
from kenning.testing import Server

_numbers = itertools.count()


@contextmanager
def given_tenant(server: Server, dimensions: int) -> Iterator[Kenning]:
    """A client of a new tenant whose callers give the vectors."""
    name = f"given-{next(_numbers)}"
    body = {"name": name, "embedder": "given", "dimensions": dimensions}
    answer = httpx.post(f"{server.url}/v1/admin/tenants", json=body)
    assert answer.status_code == 201, answer.text
    with server.client(tenant=name) as client:
        yield client
