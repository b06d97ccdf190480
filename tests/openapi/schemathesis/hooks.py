"""What schemathesis needs to be told: how a list of facts becomes the body of an import, and
which revisions there are."""

import json

import schemathesis


@schemathesis.serializer("application/x-ndjson")
def json_lines(context, value):
    """One value is one line."""
    lines = value if isinstance(value, list) else [value]
    return {"data": "".join(json.dumps(line) + "\n" for line in lines).encode()}


@schemathesis.hook
def map_headers(context, headers):
    """No schema says which revisions there are, and a later one is waited for until the deadline."""
    revision = str((headers or {}).get("x-kenning-min-revision", ""))
    if revision.isdecimal() and int(revision) < 2**63:
        headers["x-kenning-min-revision"] = "0"
    return headers


@schemathesis.hook
def before_call(context, case, kwargs):
    """No schema says that a member with several names is required under one of them and has one
    value under all, that an update names its fact, or that dimensions belong to one embedder. What
    is meant to be accepted follows these rules, too."""
    if case.meta is None or not case.meta.generation.mode.is_positive:
        return
    body = case.body
    if not isinstance(body, dict):
        return
    if case.operation.label == "POST /v1/facts":
        agree(body)
    elif case.operation.label == "POST /v1/facts/batch":
        for fact in body.get("facts", []):
            agree(fact)
    elif case.operation.label == "POST /v1/admin/tenants":
        if body.get("embedder") != "given":
            body.pop("dimensions", None)
        elif body.get("dimensions") is None:
            body["dimensions"] = 3


def agree(fact):
    """Gives every name of a member the value of the first."""
    has_id = False
    for names, otherwise in [(("text", "content"), "a fact"), (("fact_id", "id", "doc_id"), None)]:
        given = [name for name in names if fact.get(name) is not None]
        if given:
            fact.update({name: fact[given[0]] for name in given})
        elif otherwise is not None:
            fact[names[0]] = otherwise
        has_id = bool(given)
    if fact.get("mode") == "update" and not has_id:
        del fact["mode"]
    # The tenant's vectors are the server's.
    fact.pop("vector", None)
