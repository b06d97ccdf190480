"""Drives the official Python client: reads what to do as lines of JSON, writes what came of it.

    driver.py [--version V] [--header NAME=VALUE]... URL
    driver.py [--version V] -- COMMAND [ARGUMENT]...

Each line is {"n": NUMBER, "do": WHAT, ...}; each answer {"n": NUMBER, "ok": ...} or with "error".
Lines are done at once, so that an answer may come before one to an earlier line.
"""

import asyncio
import json
import os
import sys

import anyio
import httpx2
import mcp.client.session
from mcp import Client, StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

NEWEST = "2026-07-28"


def arguments(given):
    version, headers = NEWEST, {}
    while given and given[0] in ("--version", "--header"):
        option, value, *given = given
        if option == "--version":
            version = value
        else:
            name, value = value.split("=", 1)
            headers[name] = value
    if given[0] == "--":
        _, command, *rest = given
        return version, StdioServerParameters(command=command, args=rest, env=dict(os.environ))
    http = httpx2.AsyncClient(headers=headers, timeout=120)
    return version, streamable_http_client(given[0], http_client=http)


def result(of):
    return {
        "structured": of.structured_content,
        "text": "".join(block.text for block in of.content if block.type == "text"),
        "is_error": bool(of.is_error),
    }


def plain(model):
    return model.model_dump(by_alias=True, mode="json", exclude_none=True)


async def cancel(client, line):
    """Begins a call and leaves it."""
    with anyio.move_on_after(line["after"]) as scope:
        await client.call_tool(line["tool"], line["arguments"])
    return {"cancelled": scope.cancelled_caught}


async def stores(client, line):
    """Stores so many facts, some at once; gives those that were not taken."""
    room, failed = asyncio.Semaphore(line["at_once"]), []

    async def store(number):
        async with room:
            fact = {"content": f"{line['prefix']} number {number}"}
            try:
                stored = await client.call_tool("store_fact", fact)
                if stored.is_error:
                    failed.append(result(stored)["text"])
            except Exception as error:
                failed.append(repr(error))

    await asyncio.gather(*(store(number) for number in range(line["count"])))
    return {"failed": failed}


async def do(client, line):
    match line["do"]:
        case "info":
            return {
                "version": client.protocol_version,
                "server": plain(client.server_info),
                "instructions": client.instructions,
            }
        case "tools":
            return [plain(tool) for tool in (await client.list_tools()).tools]
        case "call":
            return result(await client.call_tool(line["tool"], line["arguments"]))
        case "cancel":
            return await cancel(client, line)
        case "stores":
            return await stores(client, line)
        case "resources":
            return [plain(one) for one in (await client.list_resources()).resources]
        case "templates":
            found = await client.list_resource_templates()
            return [plain(one) for one in found.resource_templates]
        case "read":
            return [plain(one) for one in (await client.read_resource(line["uri"])).contents]
        case "prompts":
            return [plain(one) for one in (await client.list_prompts()).prompts]
        case "prompt":
            made = await client.get_prompt(line["prompt"], line["arguments"])
            return [plain(message) for message in made.messages]
    raise ValueError(line["do"])


async def answer(client, line):
    try:
        said = {"n": line["n"], "ok": await do(client, line)}
    except Exception as error:
        said = {"n": line["n"], "error": f"{type(error).__name__}: {error}"}
    print(json.dumps(said), flush=True)


async def main():
    version, server = arguments(sys.argv[1:])
    mode = "auto" if version == NEWEST else "legacy"
    if mode == "legacy":
        # What the client asks for in its handshake.
        mcp.client.session.LATEST_HANDSHAKE_VERSION = version
    lines = asyncio.StreamReader(limit=1 << 24)
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(lines), sys.stdin)
    async with Client(server, mode=mode, cache=None) as client:
        print(json.dumps({"n": 0, "ok": "connected"}), flush=True)
        async with asyncio.TaskGroup() as tasks:
            while line := await lines.readline():
                tasks.create_task(answer(client, json.loads(line)))


asyncio.run(main())
