"""Where the server is, and who asks."""

from __future__ import annotations

import os
import ssl
from dataclasses import dataclass, field
from ipaddress import ip_address
from typing import Any
from urllib.parse import urlsplit

import httpx

from ._flows import Request
from ._version import VERSION

DEFAULT_SERVER = "http://127.0.0.1:7171"


@dataclass(frozen=True, slots=True)
class Settings:
    """What a client was made with; what was left out comes from the environment."""

    base_url: str
    key: str | None
    tenant: str | None
    timeout: float
    retries: int
    connections: int
    ca: str | None
    read_your_writes: bool
    headers: dict[str, str] = field(init=False, compare=False)

    def __post_init__(self) -> None:
        headers = {"user-agent": f"kenning-python/{VERSION}", "accept": "application/json"}
        if self.key:
            headers["authorization"] = f"Bearer {self.key}"
        if self.tenant:
            headers["x-kenning-tenant"] = self.tenant
        object.__setattr__(self, "headers", headers)

    @classmethod
    def of(
        cls,
        base_url: str | None,
        key: str | None,
        tenant: str | None,
        timeout: float,
        retries: int,
        connections: int,
        ca: str | None,
        read_your_writes: bool,
    ) -> Settings:
        base_url = base_url or os.environ.get("KENNING_SERVER") or DEFAULT_SERVER
        key = key or os.environ.get("KENNING_KEY") or None
        tenant = tenant or os.environ.get("KENNING_TENANT") or None
        check_url(base_url)
        if not timeout > 0:
            raise ValueError(f"timeout is a number of seconds above 0, not {timeout!r}")
        if retries < 0 or connections < 1:
            raise ValueError("retries is at least 0, and connections at least 1")
        return cls(
            base_url.rstrip("/"), key, tenant, timeout, retries, connections, ca, read_your_writes
        )

    def request(
        self, request: Request, headers: dict[str, str], timeout: float, silence: float
    ) -> httpx.Request:
        """A request as the HTTP library has it. The library's own way to make one merges what a
        client can be set to, which costs more than all else here.

        Args:
            timeout: Seconds for connecting, for sending, and for a free connection.
            silence: Seconds between pieces of the answer.
        """
        return httpx.Request(
            request.method,
            self.base_url + request.path,
            params=request.params or None,
            headers=headers,
            content=request.content,
            extensions={
                "timeout": {
                    "connect": timeout,
                    "write": timeout,
                    "pool": timeout,
                    "read": silence,
                }
            },
        )

    def http(self) -> dict[str, Any]:
        """What the HTTP library's client is made with."""
        verify: ssl.SSLContext | bool = True
        if self.ca:
            verify = ssl.create_default_context(cafile=self.ca)
        elif not self.base_url.startswith("https:"):
            # Reading the machine's certificates takes longer than a call.
            verify = False
        return {
            "verify": verify,
            "limits": httpx.Limits(
                max_connections=self.connections,
                max_keepalive_connections=self.connections,
                # Before the server closes an idle connection.
                keepalive_expiry=8.0,
            ),
            # Nobody means a proxy to be asked for this machine.
            "trust_env": not is_loopback(self.base_url),
        }


def check_url(url: str) -> None:
    """Raises ValueError if `url` cannot be a server's."""
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise ValueError(f"a server is named like {DEFAULT_SERVER}, not {url!r}")
    if parts.username or parts.password:
        raise ValueError("the server's address contains a user or password; use a key instead")
    if parts.query or parts.fragment:
        raise ValueError("the server's address has no `?` and no `#`")


def is_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost" or host.endswith(".localhost")
