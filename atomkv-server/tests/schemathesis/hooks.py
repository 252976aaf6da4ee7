"""What OpenAPI cannot say: parameters that exclude each other or belong together, and what is in the database.

Only requests that are meant to be accepted are touched. Those that break the description are sent as they were made.
"""

import base64
from typing import Any

import schemathesis
from schemathesis.generation import GenerationMode

# A table that the script has made, ordered and with all versions kept.
TABLE = "t"
# Expiries before now are refused.
FAR_AWAY_MS = 1 << 62
PAGE_MAX = 10_000


def encoded(key: str, encoding: str) -> str:
    raw = key.encode("utf-8", "surrogatepass")
    if encoding == "hex":
        return raw.hex()
    if encoding == "base64url":
        return base64.urlsafe_b64encode(raw).decode().rstrip("=")
    return key


def expire_later(fields: dict[str, Any]) -> None:
    if fields.get("expires_at_ms") is not None:
        fields["expires_at_ms"] = max(int(fields["expires_at_ms"]), FAR_AWAY_MS)


def reconcile_body(body: Any) -> None:
    for step in body.get("operations") or body.get("documents") or []:
        step["table"] = TABLE
        expire_later(step)


def reconcile(operation: str, path: dict[str, Any], query: dict[str, Any], headers: dict[str, Any]) -> None:
    if "table" in path and operation != "PUT /v1/tables/{table}":
        path["table"] = TABLE
    encoding = query.get("key_encoding", "text")
    if "Atomkv-Key" in headers:
        path["key"] = "-"
    elif "key" in path:
        path["key"] = encoded(str(path["key"]), encoding)
    for name in ("prefix", "start", "end", "contains"):
        if name in query:
            query[name] = encoded(str(query[name]), encoding)
    expire_later(query)
    if "limit" in query:
        query["limit"] = min(int(query["limit"]), PAGE_MAX)
    # Only the service knows what is behind a page.
    query.pop("cursor", None)
    # A watch that waits for changes ends with the time that a request may take.
    if operation == "GET /v1/watch":
        query["follow"] = "false"
    # Whether all of the table's bytes are text or JSON is not for the description.
    if operation.endswith("/export"):
        query["encoding"] = "auto"
    numbers = [name for name in ("if_version", "if_sequence") if name in query]
    headers_too = ["If-Match", "If-None-Match"] if numbers else []
    for one, others in {"prefix": ["start", "end"], "ttl": ["expires_at_ms"], "version": ["at"]}.items():
        if one in query:
            for other in others:
                query.pop(other, None)
    for other in numbers[1:]:
        query.pop(other)
    for other in headers_too:
        headers.pop(other, None)


@schemathesis.hook
def before_call(context: Any, case: Any, kwargs: Any) -> None:
    if case.meta is None or case.meta.generation.mode != GenerationMode.POSITIVE:
        return
    operation = f"{case.operation.method.upper()} {case.operation.path}"
    path, query, headers = dict(case.path_parameters or {}), dict(case.query or {}), dict(case.headers or {})
    reconcile(operation, path, query, headers)
    if operation in ("POST /v1/batch", "POST /v1/get-many") and isinstance(case.body, dict):
        reconcile_body(case.body)
    # What is assigned counts as changed, so only what is.
    if path != dict(case.path_parameters or {}):
        case.path_parameters = path
    if query != dict(case.query or {}):
        case.query = query
    if headers != dict(case.headers or {}):
        case.headers = type(case.headers)(headers)
