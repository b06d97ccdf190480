"""The service that Kenning grew out of: FastAPI and redis.asyncio, under uvicorn with uvloop.

A fact is the hash fact:ID; storing is one HSET and reading one HGETALL, each within two seconds. A
search compares the query's vector with all vectors in memory, in a thread, and reads the ten hits
in one pipeline. A stored fact does not join the vectors. The query's vector is drawn by the text's
digest, which stands for an embedder that costs nothing; with EMBED=1 the model makes it.
"""

import asyncio
import contextlib
import hashlib
import json
import os
import uuid
from datetime import datetime

import numpy as np
import redis.asyncio
from fastapi import FastAPI
from pydantic import BaseModel

from workload import DIMENSIONS, Model

OPERATION_SECONDS = 2.0
SEARCH_SECONDS = 10.0
POOL = 50

vectors = np.load(os.environ["VECTORS"])
with open(os.environ["IDS"], encoding="utf-8") as lines:
    ids = lines.read().split()
model = Model(threads=1) if os.environ.get("EMBED") else None


@contextlib.asynccontextmanager
async def lifespan(_app):
    global client
    pool = redis.asyncio.BlockingConnectionPool(
        host="127.0.0.1",
        port=int(os.environ["REDIS_PORT"]),
        decode_responses=True,
        max_connections=POOL,
        timeout=OPERATION_SECONDS,
    )
    client = redis.asyncio.Redis(connection_pool=pool)
    yield
    await client.aclose()
    await pool.disconnect()


app = FastAPI(lifespan=lifespan)


class NewFact(BaseModel):
    text: str
    metadata: dict = {}


class Query(BaseModel):
    query: str
    top_k: int = 10


def to_fact(fact_id, fields):
    return {
        "id": fact_id,
        "content": fields.get("content", ""),
        "metadata": json.loads(fields.get("metadata", "{}")),
        "timestamp": fields.get("timestamp", ""),
    }


def nearest(query, count):
    if model:
        vector = model.embed([query])[0]
    else:
        seed = int.from_bytes(hashlib.sha256(query.encode()).digest()[:4], "little")
        vector = np.random.default_rng(seed).standard_normal(DIMENSIONS, dtype=np.float32)
    scores = vectors @ vector
    top = np.argpartition(-scores, count)[:count]
    return [ids[at] for at in top[np.argsort(-scores[top])]]


@app.post("/v1/facts", status_code=201)
async def store(fact: NewFact):
    fact_id = str(uuid.uuid4())
    fields = {
        "content": fact.text,
        "metadata": json.dumps(fact.metadata),
        "timestamp": datetime.now().isoformat(),
        "id": fact_id,
    }
    await asyncio.wait_for(client.hset(f"fact:{fact_id}", mapping=fields), OPERATION_SECONDS)
    return {"status": "success", "fact_id": fact_id}


@app.get("/v1/facts/{fact_id}")
async def get(fact_id: str):
    fields = await asyncio.wait_for(client.hgetall(f"fact:{fact_id}"), OPERATION_SECONDS)
    return {"status": "success", "facts": [to_fact(fact_id, fields)] if fields else []}


@app.post("/v1/search")
async def search(query: Query):
    found = await asyncio.wait_for(
        asyncio.to_thread(nearest, query.query, query.top_k), SEARCH_SECONDS
    )
    pipeline = client.pipeline(transaction=False)
    for fact_id in found:
        pipeline.hgetall(f"fact:{fact_id}")
    rows = await asyncio.wait_for(pipeline.execute(), OPERATION_SECONDS)
    results = [to_fact(fact_id, fields) for fact_id, fields in zip(found, rows)]
    return {"status": "success", "results": results}


@app.get("/healthz")
async def health():
    return {"status": "ok"}
