"""Follows the changes of the server at argv[1] from its beginning, until there were argv[2]."""

import sys
import time

import httpx
from httpx_sse import connect_sse

url, wanted = sys.argv[1], int(sys.argv[2])
last, seen = "0", 0
with httpx.Client(timeout=30) as client:
    while seen < wanted:
        try:
            headers = {"Last-Event-ID": last}
            with connect_sse(client, "GET", f"{url}/v1/changes", headers=headers) as source:
                for event in source.iter_sse():
                    last = event.id
                    if not event.data:
                        continue  # Only a position.
                    print(event.event, event.json()["id"], flush=True)
                    seen += 1
                    if seen == wanted:
                        break
        except httpx.TransportError:
            pass  # The server is being restarted.
        time.sleep(0.05)
