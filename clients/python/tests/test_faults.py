"""What the clients do when something fails: tried again where that is safe, within one deadline,
and otherwise an exception that says what is known."""

from __future__ import annotations

import asyncio
import json
import socket
import threading

import pytest
from conftest import until
from support.both import Both, on_async, on_sync
from support.proxy import Cut, Fault, Hang, HangAfter, Lose, Proxy, Refuse, Say

from kenning import (
    AsyncKenning,
    Change,
    ConnectionFailed,
    Draft,
    Forbidden,
    ImportFailed,
    Kenning,
    KenningError,
    NotFound,
    Overloaded,
    QuotaExceeded,
    StorageUnavailable,
    Stored,
    Timeout,
    UnexpectedAnswer,
)
from kenning.testing import Server, server


@pytest.fixture(autouse=True)
def short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    """What is tested is that it is tried again, and not after how long."""
    for module in ("_attempts", "client", "aio"):
        monkeypatch.setattr(f"kenning.{module}.FIRST_PAUSE", 0.02)


OVERLOADED = Refuse(503, "overloaded", True)
TEXT = "Mia keeps a cat."


async def test_what_may_pass_is_tried_again(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.extend([OVERLOADED, Refuse(429, "quota_exceeded", True), Lose()])
    stored = await through_proxy.call("store", TEXT)
    requests = proxy.requests("POST", "/v1/facts")
    assert len(requests) == 4
    keys = {one.headers["idempotency-key"] for one in requests}
    assert len(keys) == 1, "one key for all attempts"
    assert (await through_proxy.call("get", stored.id)).content == TEXT
    assert await through_proxy.call("count") == 1, "the lost answer was of a store that happened"


@pytest.mark.parametrize("method", ["get", "count", "search", "list_page", "stats"])
async def test_reads_are_tried_again(proxy: Proxy, through_proxy: Both, method: str) -> None:
    await through_proxy.call("store", TEXT, id="a")
    arguments = {"get": ["a"], "search": ["cat"]}.get(method, [])
    proxy.faults.extend([Lose(), OVERLOADED])
    assert await through_proxy.call(method, *arguments)


async def test_what_cannot_pass_is_not_tried_again(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.append(Refuse(409, "conflict", False, details={"pointer": "/fact_id"}))
    with pytest.raises(KenningError) as raised:
        await through_proxy.call("store", TEXT)
    error = raised.value
    assert (error.code, error.status, error.retryable) == ("conflict", 409, False)
    assert (error.blame, error.details) == ("host", {"pointer": "/fact_id"})
    assert error.request_id == "of-the-test" and "of-the-test" in str(error)
    assert len(proxy.seen) == 1


async def test_attempts_are_bounded(proxy: Proxy, tenant: str) -> None:
    for make in (on_sync, on_async):
        async with make(proxy.url, tenant=tenant, retries=2) as client:
            proxy.seen.clear()
            proxy.faults.extend([OVERLOADED] * 3)
            with pytest.raises(Overloaded):
                await client.call("store", TEXT)
            assert len(proxy.seen) == 3
            assert await client.call("count") == 0


async def test_a_wait_that_is_asked_for_is_kept(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.append(Refuse(429, "quota_exceeded", True, retry_after=1))
    begun = asyncio.get_running_loop().time()
    await through_proxy.call("store", TEXT)
    # A lower bound: the wait was kept.
    assert asyncio.get_running_loop().time() - begun >= 1


async def test_a_wait_that_does_not_fit_is_not_begun(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.append(Refuse(429, "quota_exceeded", True, retry_after=3600))
    with pytest.raises(QuotaExceeded) as raised:
        await through_proxy.call("store", TEXT)
    assert raised.value.retry_after == 3600
    assert len(proxy.seen) == 1


@pytest.mark.parametrize("fault", [Hang(), HangAfter()])
async def test_a_silent_server_ends_in_a_timeout(
    proxy: Proxy, through_proxy: Both, fault: Fault
) -> None:
    proxy.faults.append(fault)
    with pytest.raises(Timeout) as raised:
        await through_proxy.call("store", TEXT, timeout=0.15)
    assert raised.value.may_have_happened
    assert isinstance(raised.value, TimeoutError)
    proxy.faults.append(fault)
    with pytest.raises(Timeout) as raised:
        await through_proxy.call("count", timeout=0.15)
    assert not raised.value.may_have_happened, "a read changes nothing"


async def test_the_server_is_told_the_deadline(proxy: Proxy, through_proxy: Both) -> None:
    await through_proxy.call("store", TEXT, timeout=2.0)
    told = int(proxy.seen[0].headers["x-kenning-timeout-ms"])
    assert 0 < told < 2000, "a little before ours, so that its answer arrives"


async def test_a_deletion_that_happened_is_done(proxy: Proxy, through_proxy: Both) -> None:
    await through_proxy.call("store", TEXT, id="a")
    proxy.faults.append(Lose())
    await through_proxy.call("delete", "a")
    assert len(proxy.requests("DELETE", "/v1/facts/a")) == 2
    proxy.faults.append(OVERLOADED)
    with pytest.raises(NotFound):
        # Nothing is in doubt here: it was not there before.
        await through_proxy.call("delete", "a")


async def test_upsert_survives_what_is_lost(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.extend([Lose(), Lose()])
    await through_proxy.call("upsert", "one", id="a")
    proxy.faults.extend([Lose(), OVERLOADED])
    await through_proxy.call("upsert", "two", {"n": 2}, id="a")
    fact = await through_proxy.call("get", "a")
    assert (fact.content, fact.metadata) == ("two", {"n": 2})
    assert await through_proxy.call("count") == 1


async def test_a_batch_in_doubt_is_stored_once(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.extend([Lose(), OVERLOADED])
    results = await through_proxy.call("store_batch", [Draft(f"fact {n}") for n in range(150)])
    assert len({result.id for result in results}) == 150
    assert await through_proxy.call("count") == 150


async def test_the_failed_ones_of_a_batch_are_sent_again(proxy: Proxy, through_proxy: Both) -> None:
    full = {
        "status": "error",
        "code": "storage_unavailable",
        "message": "Redis not available",
        "retryable": True,
        "blame": "backend",
    }
    proxy.faults.append(Say(200, json.dumps({"results": [full, full]}).encode()))
    results = await through_proxy.call("store_batch", [Draft("one"), Draft("two")])
    assert {result.indexed for result in results} <= {True, False}
    assert await through_proxy.call("count") == 2
    proxy.faults.extend([Say(200, json.dumps({"results": [full]}).encode())] * 9)
    failed = await through_proxy.call("store_batch", [Draft("three")])
    assert [type(result) for result in failed] == [StorageUnavailable]
    proxy.faults.clear()


async def test_a_batch_that_fails_half_way_says_what_is_stored(
    proxy: Proxy, through_proxy: Both
) -> None:
    refused = Refuse(403, "forbidden", False)
    drafts = [Draft(f"fact {n}") for n in range(250)]
    proxy.faults.append(refused)
    with pytest.raises(Forbidden):
        await through_proxy.call("store_batch", drafts[:1])
    assert await through_proxy.call("count") == 0
    following = proxy.fail_at("/v1/facts/batch", 2, refused)
    results = await through_proxy.call("store_batch", drafts)
    assert following.is_set()
    kinds = [type(result) for result in results]
    assert kinds == [Stored] * 100 + [Forbidden] * 100 + [Stored] * 50
    assert await through_proxy.call("count") == 150


async def test_an_import_in_doubt_stores_nothing_twice(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.extend([Lose(), OVERLOADED, Lose()])
    lines = [json.dumps({"text": f"fact {n}"}) for n in range(1_500)]
    summary = await through_proxy.call("import_facts", lines)
    assert summary.imported == 1_500
    assert await through_proxy.call("count") == 1_500


async def test_an_import_goes_on_where_it_ended(proxy: Proxy, through_proxy: Both) -> None:
    """The answer is that of a server whose quota of a rate ended an import behind line 2."""
    ended = {
        "status": "error",
        "code": "quota_exceeded",
        "message": "a quota",
        "retryable": True,
        "blame": "caller",
        "imported": 1,
        "failed": 2,
        "first_refused_line": 2,
        "last_line": 2,
        "lines": 3,
        "took_ms": 1,
        "errors": [
            {
                "line": line,
                "status": "error",
                "code": "invalid_request",
                "message": "bad",
                "retryable": False,
                "blame": "caller",
            }
            for line in (2, 3)
        ],
    }
    proxy.faults.append(Say(429, json.dumps(ended).encode()))
    lines = [json.dumps({"text": text}) for text in ("one", "two", "three")]
    summary = await through_proxy.call("import_facts", lines, allow_refused=True)
    assert (summary.imported, summary.failed, summary.lines) == (2, 1, 3)
    assert [refused.line for refused in summary.errors] == [2]
    second = proxy.requests("POST", "/v1/import")[1]
    assert [json.loads(line)["text"] for line in second.body.splitlines()] == ["three"]


async def test_an_import_that_ends_says_where_to_go_on(proxy: Proxy, tenant: str) -> None:
    for make in (on_sync, on_async):
        async with make(proxy.url, tenant=tenant, retries=0) as client:
            lines = [json.dumps({"text": f"fact {n}"}) for n in range(1_200)]
            proxy.fail_at("/v1/import", 2, OVERLOADED)
            with pytest.raises(ImportFailed) as raised:
                await client.call("import_facts", lines)
            assert raised.value.code == "overloaded"
            summary = raised.value.summary
            assert (summary.imported, summary.last_line) == (1_000, 1_000)


@pytest.mark.parametrize("method", ["export", "export_lines"])
async def test_an_export_that_breaks_off_is_no_export(
    proxy: Proxy, through_proxy: Both, method: str
) -> None:
    await through_proxy.call("import_facts", [Draft(f"fact {n}") for n in range(500)])
    proxy.faults.extend([OVERLOADED, Cut(20_000)])
    with pytest.raises(ConnectionFailed) as raised:
        await through_proxy.all(method)
    assert "not all" in raised.value.message
    assert len(await through_proxy.all(method)) == 500


async def test_an_export_says_what_was_withheld(proxy: Proxy, through_proxy: Both) -> None:
    proxy.faults.append(Say(200, b'{"withheld": 2}\n'))
    with pytest.raises(KenningError) as raised:
        await through_proxy.all("export")
    assert "2 facts" in raised.value.message


async def test_changes_go_on_where_a_connection_broke(proxy: Proxy, through_proxy: Both) -> None:
    for number in range(30):
        await through_proxy.call("store", TEXT, id=f"f{number}")
    proxy.faults.extend([Cut(700), OVERLOADED, Cut(900), Cut(5)])
    changes: list[Change] = await through_proxy.first(30, "changes", after=0)
    assert [change.id for change in changes] == [f"f{number}" for number in range(30)]
    resumed = proxy.requests("GET", "/v1/changes")
    assert len(resumed) >= 4
    assert int(resumed[1].headers["last-event-id"]) > 0


async def test_a_gap_is_told(proxy: Proxy, through_proxy: Both) -> None:
    stream = b'id: 12\nevent: gap\ndata: {"kind":"gap","from":9,"to":12}\n\n'
    proxy.faults.append(Say(200, stream))
    assert await through_proxy.all("changes", after=9, follow=False) == [Change("gap", 12, None, 9)]


async def test_changes_give_up_at_last(tenant: str) -> None:
    for make in (on_sync, on_async):
        async with make(_nowhere(), tenant=tenant, retries=0) as client:
            with pytest.raises(ConnectionFailed):
                await client.all("changes", give_up_after=0.2)


async def test_what_is_no_server_is_named(proxy: Proxy, through_proxy: Both) -> None:
    for status, body in [(200, b"<html>"), (404, b"nothing"), (302, b""), (200, b"")]:
        proxy.faults.append(Say(status, body))
        with pytest.raises(UnexpectedAnswer) as raised:
            await through_proxy.call("count")
        assert raised.value.status == status


async def test_nobody_there_is_said_with_what_to_do(tenant: str) -> None:
    for make in (on_sync, on_async):
        async with make(_nowhere(), tenant=tenant, retries=1) as client:
            with pytest.raises(ConnectionFailed) as raised:
                await client.call("store", TEXT)
            assert "kenning serve" in raised.value.message
            assert raised.value.retryable and not raised.value.may_have_happened
            assert isinstance(raised.value, ConnectionError)


async def test_a_server_that_restarts_is_waited_for(tenant: str) -> None:
    """Calls that come while nobody listens are answered by the next server on the address."""
    import tempfile

    address = _nowhere().removeprefix("http://")
    with tempfile.TemporaryDirectory() as data_dir:
        with server(listen=address, data_dir=data_dir) as first, first.client() as kb:
            kb.store(TEXT, id="a")
        async with AsyncKenning(first.url, retries=60, timeout=60) as client:
            calls = [asyncio.create_task(client.get("a")) for _ in range(8)]
            await asyncio.sleep(0)

            def serve_again() -> None:
                with server(listen=address, data_dir=data_dir):
                    answered.wait(60)

            answered = threading.Event()
            serving = asyncio.create_task(asyncio.to_thread(serve_again))
            try:
                facts = await asyncio.gather(*calls)
            finally:
                answered.set()
                await serving
            assert {fact.content for fact in facts} == {TEXT}


async def test_a_call_that_is_cancelled_leaves_a_usable_client(proxy: Proxy, tenant: str) -> None:
    async with AsyncKenning(proxy.url, tenant=tenant, connections=1) as client:
        proxy.faults.append(Hang())
        call = asyncio.create_task(client.store(TEXT))

        async def has_come() -> bool:
            return len(proxy.seen) == 1

        await until("the request has come", has_come)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert (await client.store(TEXT)).id, "its only connection was given back"


async def test_reads_ask_for_what_was_written(proxy: Proxy, through_proxy: Both) -> None:
    stored = await through_proxy.call("store", TEXT, id="a")
    for method, arguments in [("get", ["a"]), ("search", ["cat"]), ("list_page", [])]:
        await through_proxy.call(method, *arguments)
        assert proxy.seen[-1].headers["x-kenning-min-revision"] == str(stored.revision)
    assert "x-kenning-min-revision" not in proxy.seen[0].headers
    named = (stored.revision or 0) + 5
    with pytest.raises(Timeout):
        await through_proxy.call("get", "a", min_revision=named, timeout=0.3)
    assert proxy.seen[-1].headers["x-kenning-min-revision"] == str(named)


async def test_another_clients_write_can_be_waited_for(
    proxy: Proxy, through_proxy: Both, kenning_server: Server, tenant: str
) -> None:
    with kenning_server.client(tenant=tenant) as writer:
        writer.store(TEXT, id="a")
        through_proxy.client.wait_for(writer.revision)
        await through_proxy.call("get", "a")
        assert proxy.seen[-1].headers["x-kenning-min-revision"] == str(writer.revision)


async def test_a_client_can_leave_it(proxy: Proxy, tenant: str) -> None:
    for make in (on_sync, on_async):
        async with make(proxy.url, tenant=tenant, read_your_writes=False) as client:
            await client.call("upsert", TEXT, id="a")
            await client.call("get", "a")
            assert "x-kenning-min-revision" not in proxy.seen[-1].headers


async def test_a_tenant_that_began_anew_is_read_again(kenning_server: Server, tenant: str) -> None:
    """A deleted tenant's revisions begin anew: the old one would be waited for in vain."""
    for make in (on_sync, on_async):
        async with make(kenning_server.url, tenant=tenant) as client:
            client.client.wait_for(1_000_000)

            async def is_read(client: Both = client) -> bool:
                try:
                    # The server says which revision there is, and that is asked for next.
                    await client.call("list_page", timeout=0.5)
                except Timeout:
                    return False
                return True

            await until("it is read again", is_read)
            assert client.client.revision != 1_000_000
            await client.call("store", TEXT)
            assert (await client.call("list_page")).facts


@pytest.mark.parametrize("make", [Kenning, AsyncKenning])
def test_arguments_that_make_no_sense_are_refused(make: type) -> None:
    for url in ("127.0.0.1:7171", "ftp://host", "http://", "http://me:secret@host", "http://h?a"):
        with pytest.raises(ValueError) as raised:
            make(url)
        assert "secret" not in str(raised.value)
    for named in ({"timeout": 0}, {"timeout": -1}, {"retries": -1}, {"connections": 0}):
        with pytest.raises(ValueError):
            make("http://127.0.0.1:7171", **named)


def test_the_environment_names_server_tenant_and_key(
    kenning_server: Server, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("KENNING_SERVER", kenning_server.url)
    monkeypatch.setenv("KENNING_TENANT", tenant)
    monkeypatch.setenv("KENNING_KEY", "")
    with Kenning() as kb:
        kb.store(TEXT)
        assert kb.stats().tenant == tenant


def test_loopback_is_never_asked_through_a_proxy(
    kenning_server: Server, tenant: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HTTP_PROXY", _nowhere())
    with kenning_server.client(tenant=tenant) as kb:
        assert kb.count() == 0


def _nowhere() -> str:
    """An address where nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        return f"http://127.0.0.1:{taken.getsockname()[1]}"
