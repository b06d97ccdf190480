"""Servers with keys, quotas and certificates, and servers for tests."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from conftest import PATIENT_LIMITS
from support.both import on_async, on_sync
from support.proxy import Proxy
from support.redis_server import RedisServer

from kenning import (
    ConnectionFailed,
    Draft,
    Forbidden,
    ImportFailed,
    Kenning,
    QuotaExceeded,
    Stored,
    Unauthorized,
)
from kenning.testing import Server, ServerFailed, binary, server

ADMIN = "an-admin-key-for-tests-only"


@pytest.fixture(scope="module")
def keyed() -> Iterator[Server]:
    """A server whose callers need keys."""
    with server(admin_key=ADMIN) as running:
        yield running


def new_tenant(keyed: Server, name: str, **settings: object) -> str:
    """The key of a new tenant."""
    answer = httpx.post(
        f"{keyed.url}/v1/admin/tenants",
        json={"name": name, **settings},
        headers={"authorization": f"Bearer {keyed.admin_key}"},
    )
    assert answer.status_code == 201, answer.text
    key: str = answer.json()["key"]
    return key


async def test_a_key_names_the_tenant(keyed: Server) -> None:
    key = new_tenant(keyed, "acme")
    for make in (on_sync, on_async):
        async with make(keyed.url, key=key) as client:
            assert (await client.call("stats")).tenant == "acme"
        async with make(keyed.url, key=key, tenant="other") as client:
            with pytest.raises(Forbidden):
                await client.call("count")
        for wrong in (None, "kng_wrong_key"):
            async with make(keyed.url, key=wrong) as client:
                with pytest.raises(Unauthorized) as raised:
                    await client.call("count")
                assert raised.value.status == 401 and not raised.value.retryable


def test_a_key_is_taken_from_the_environment(
    keyed: Server, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KENNING_KEY", new_tenant(keyed, "environment"))
    with keyed.client() as client:
        assert client.stats().tenant == "environment"


async def test_a_quota_ends_a_batch_and_an_import(keyed: Server) -> None:
    for number, make in enumerate((on_sync, on_async)):
        key = new_tenant(keyed, f"small-{number}", limits={"facts": 10})
        async with make(keyed.url, key=key, timeout=2, retries=1) as client:
            drafts = [Draft(f"fact {n}") for n in range(6)]
            assert all(isinstance(one, Stored) for one in await client.call("store_batch", drafts))
            lines = [{"text": f"line {n}"} for n in range(8)]
            with pytest.raises(ImportFailed) as raised:
                await client.call("import_facts", lines, timeout=2)
            assert raised.value.code == "quota_exceeded"
            assert raised.value.summary.imported == 4 == raised.value.summary.last_line
            with pytest.raises(QuotaExceeded) as refused:
                await client.call("store_batch", drafts)
            assert refused.value.details["limit"] == "facts"
            assert await client.call("count") == 10


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A certificate for this machine that nobody trusts, and its key."""
    path = tmp_path_factory.mktemp("tls") / "certificate.pem"
    command = "openssl req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:P-256"
    subprocess.run(
        [
            *command.split(),
            *["-subj", "/CN=localhost", "-addext", "subjectAltName=IP:127.0.0.1"],
            *["-keyout", str(path), "-out", f"{path}.crt"],
        ],
        check=True,
        capture_output=True,
    )
    with path.open("a") as file:
        file.write(Path(f"{path}.crt").read_text())
    return path


async def test_certificates_are_checked(
    kenning_server: Server, tenant: str, certificate: Path
) -> None:
    with Proxy(kenning_server.url, certificate) as proxy:
        for make in (on_sync, on_async):
            async with make(proxy.url, tenant=tenant, ca=f"{certificate}.crt") as client:
                await client.call("upsert", "over TLS", id="a")
                assert (await client.call("get", "a")).content == "over TLS"
            async with make(proxy.url, tenant=tenant, retries=0) as client:
                with pytest.raises(ConnectionFailed) as raised:
                    await client.call("count")
                assert "certificate" in raised.value.message.lower()


def test_a_server_that_does_not_start_says_why() -> None:
    with pytest.raises(ServerFailed) as raised, server(storage="nonsense://x"):
        pass
    assert "unsupported storage address" in str(raised.value)


def test_a_binary_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNING_BINARY", "/no/such/kenning")
    with pytest.raises(ServerFailed) as raised:
        binary()
    assert "/no/such/kenning" in str(raised.value)
    monkeypatch.delenv("KENNING_BINARY")
    monkeypatch.setenv("PATH", "")
    with pytest.raises(ServerFailed) as raised:
        binary()
    assert "KENNING_BINARY" in str(raised.value)


def test_a_server_keeps_its_data_on_request(tmp_path: Path) -> None:
    for expected in (1, 2):
        with server(data_dir=tmp_path / "data") as running, Kenning(running.url) as client:
            client.store("another")
            assert client.count() == expected
    with pytest.raises(ConnectionFailed), Kenning(running.url, retries=0) as client:
        client.count()


def test_a_server_does_not_depend_on_the_shell(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KENNING_ADMIN_KEY", ADMIN)
    with server(environment={"KENNING_LOG_FORMAT": "json"}) as running:
        with running.client() as client:
            assert client.count() == 0, "no key is needed"


async def test_a_write_is_read_on_another_host(redis: RedisServer, tenant: str) -> None:
    """Two hosts on one Redis: what one has stored, the other finds at once, if it is waited for."""
    with (
        server(storage=f"{redis.url}/1", config=PATIENT_LIMITS) as one,
        server(storage=f"{redis.url}/1", config=PATIENT_LIMITS) as other,
    ):
        for make in (on_sync, on_async):
            async with (
                make(one.url, tenant=tenant) as writer,
                make(other.url, tenant=tenant) as reader,
            ):
                for number in range(30):
                    stored = await writer.call("store", f"word{number}")
                    reader.client.wait_for(stored.revision)
                    found = await reader.call("search", f"word{number}", mode="text", top_k=1)
                    assert [hit.id for hit in found] == [stored.id]
                    assert (await reader.call("get", stored.id)).content == f"word{number}"
                    await writer.call("delete", stored.id)
