"""Imports every module of the generated client and calls the server at the URL in argv[1]."""

import importlib
import io
import json
import pkgutil
import sys

import generated
from generated.api.admin import swap_logic
from generated.api.bulk import import_facts
from generated.api.facts import get_fact, store_fact
from generated.api.search import search
from generated.models import Draft, Error, ErrorCode, Fact, Query, SearchAnswer, Stored
from generated.types import File

for module in pkgutil.walk_packages(generated.__path__, "generated."):
    importlib.import_module(module.name)

client = generated.Client(base_url=sys.argv[1])

stored = store_fact.sync(client=client, body=Draft(text="Ada prefers tea.", fact_id="tea"))
assert isinstance(stored, Stored), stored
assert stored.fact_id == "tea", stored

fact = get_fact.sync("tea", client=client)
assert isinstance(fact, Fact), fact
assert fact.content == "Ada prefers tea.", fact

missing = get_fact.sync("coffee", client=client)
assert isinstance(missing, Error) and missing.code == ErrorCode.NOT_FOUND, missing

line = json.dumps({"id": "port", "content": "The port is 7171."}).encode()
imported = import_facts.sync_detailed(client=client, body=File(payload=io.BytesIO(line)))
summary = json.loads(imported.content)
assert summary["imported"] == 1 and summary["status"] == "success", summary

answer = search.sync(client=client, body=Query(query="port"))
assert isinstance(answer, SearchAnswer), answer
assert answer.results[0].doc_id == "port", answer

refused = swap_logic.sync(client=client, body=File(payload=io.BytesIO(b"no component")))
assert isinstance(refused, Error), refused
assert refused.code == ErrorCode.INCOMPATIBLE_COMPONENT, refused
