"""A proxy in front of a real server that breaks some of what goes through it, and counts."""

from __future__ import annotations

import http.client
import json
import socket
import ssl
import threading
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

_HOP = {"connection", "transfer-encoding", "content-length", "host", "keep-alive"}


@dataclass(frozen=True)
class Lose:
    """The request is done, and its answer is lost with the connection."""


@dataclass(frozen=True)
class Refuse:
    """The request is answered with an error and not passed on."""

    status: int
    code: str
    retryable: bool
    retry_after: int | None = None
    details: dict[str, Any] | None = None
    message: str = "refused by the test"


@dataclass(frozen=True)
class Say:
    """The request is answered with this, and not passed on."""

    status: int
    body: bytes


@dataclass(frozen=True)
class Hang:
    """The request is never answered, nor passed on."""


@dataclass(frozen=True)
class HangAfter:
    """The request is done, and its answer held back."""


@dataclass(frozen=True)
class Cut:
    """The answer breaks off after so many bytes of its body."""

    after: int


Fault = Lose | Refuse | Say | Hang | HangAfter | Cut


@dataclass(frozen=True)
class Seen:
    """A request that came."""

    method: str
    path: str
    headers: dict[str, str]
    body: bytes = field(repr=False)


class Proxy:
    """Breaks the next requests as `faults` says, one each, and passes the others on. With a
    certificate and its key, in one file, it is spoken to over TLS."""

    def __init__(self, upstream: str, certificate: Path | None = None) -> None:
        parts = urlsplit(upstream)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.faults: deque[Fault] = deque()
        self.seen: list[Seen] = []
        self.connections = 0
        self._planned: list[tuple[str, list[int], Fault, threading.Event]] = []
        self._closing = threading.Event()
        proxy = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"
            disable_nagle_algorithm = True

            def setup(self) -> None:
                super().setup()
                proxy.connections += 1

            def log_message(self, *_: object) -> None:
                pass

            def _serve(self) -> None:
                proxy._serve(self)

            do_GET = do_POST = do_PATCH = do_DELETE = do_PUT = _serve

        class Quiet(ThreadingHTTPServer):
            daemon_threads = True
            request_queue_size = 128

            def handle_error(self, *_: object) -> None:
                # Clients leave when they have what they want.
                pass

        self._server = Quiet(("127.0.0.1", 0), Handler)
        scheme = "http"
        if certificate is not None:
            scheme = "https"
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            # The handshake is the handler's thread's, so that a bad one holds nobody up.
            self._server.socket = context.wrap_socket(
                self._server.socket, server_side=True, do_handshake_on_connect=False
            )
        self.url = f"{scheme}://127.0.0.1:{self._server.server_address[1]}"
        # Looks often whether it is to end, so that no test waits for that.
        self._thread = threading.Thread(
            target=self._server.serve_forever, args=(0.02,), daemon=True
        )

    def __enter__(self) -> Proxy:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.set()
        self._server.shutdown()
        self._server.server_close()

    def fail_at(self, path: str, number: int, fault: Fault) -> threading.Event:
        """Breaks the request for a route that has this number from now on, from 1; the event says
        that it came."""
        came = threading.Event()
        self._planned.append((path, [number], fault, came))
        return came

    def _planned_fault(self, path: str) -> Fault | None:
        for planned, left, fault, came in self._planned:
            if planned == path.split("?")[0]:
                left[0] -= 1
                if left[0] == 0:
                    came.set()
                    return fault
        return None

    def requests(self, method: str, path: str) -> list[Seen]:
        """What came for a route."""
        return [one for one in self.seen if one.method == method and one.path.split("?")[0] == path]

    def _serve(self, handler: BaseHTTPRequestHandler) -> None:
        length = int(handler.headers.get("content-length") or 0)
        body = handler.rfile.read(length)
        headers = {name.lower(): value for name, value in handler.headers.items()}
        self.seen.append(Seen(handler.command, handler.path, headers, body))
        fault = self._planned_fault(handler.path)
        if fault is None and self.faults:
            fault = self.faults.popleft()
        if isinstance(fault, Refuse):
            return _refuse(handler, fault)
        if isinstance(fault, Say):
            return _say(handler, fault.status, fault.body, {})
        if isinstance(fault, Hang):
            self._closing.wait(60)
            return _drop(handler)
        passed = {name: value for name, value in headers.items() if name not in _HOP}
        upstream = http.client.HTTPConnection(*self._upstream, timeout=60)
        try:
            upstream.request(handler.command, handler.path, body or None, passed)
            answer = upstream.getresponse()
            if isinstance(fault, (Lose, HangAfter)):
                answer.read()
                if isinstance(fault, HangAfter):
                    self._closing.wait(60)
                return _drop(handler)
            _pass_on(handler, answer, fault.after if isinstance(fault, Cut) else None)
        finally:
            upstream.close()


def _refuse(handler: BaseHTTPRequestHandler, fault: Refuse) -> None:
    body = {
        "status": "error",
        "code": fault.code,
        "message": fault.message,
        "retryable": fault.retryable,
        "blame": "host",
        **({"details": fault.details} if fault.details else {}),
    }
    headers = {"x-request-id": "of-the-test"}
    if fault.retry_after is not None:
        headers["retry-after"] = str(fault.retry_after)
    _say(handler, fault.status, json.dumps(body).encode(), headers)


def _say(
    handler: BaseHTTPRequestHandler, status: int, body: bytes, headers: dict[str, str]
) -> None:
    handler.send_response(status)
    for name, value in headers.items():
        handler.send_header(name, value)
    handler.send_header("content-length", str(len(body)))
    handler.end_headers()
    handler.wfile.write(body)


def _drop(handler: BaseHTTPRequestHandler) -> None:
    handler.close_connection = True
    try:
        handler.connection.shutdown(socket.SHUT_RDWR)
    except OSError:
        pass


def _pass_on(
    handler: BaseHTTPRequestHandler, answer: http.client.HTTPResponse, cut: int | None
) -> None:
    handler.send_response(answer.status)
    for name, value in answer.getheaders():
        if name.lower() not in _HOP:
            handler.send_header(name, value)
    handler.send_header("transfer-encoding", "chunked")
    handler.end_headers()
    sent = 0
    while piece := answer.read1(65536):
        if cut is not None and sent + len(piece) > cut:
            piece = piece[: cut - sent]
            handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece) if piece else b"")
            handler.wfile.flush()
            return _drop(handler)
        sent += len(piece)
        handler.wfile.write(b"%x\r\n%s\r\n" % (len(piece), piece))
        handler.wfile.flush()
    handler.wfile.write(b"0\r\n\r\n")
