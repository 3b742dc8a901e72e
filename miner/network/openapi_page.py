"""The description of the operator's page and of what it lists; see ``network/openapi.py``."""

from __future__ import annotations

from miner.network.openapi_parts import (
    COUNT,
    JOB_ID,
    MAYBE_COUNT,
    MAYBE_SECONDS,
    MAYBE_TEXT,
    Schema,
    as_json,
    simple,
    with_errors,
)

JOB: Schema = {
    "type": "object",
    "required": ["id", "prompt", "state", "timings", "accepted_at", "kept"],
    "properties": {
        "id": JOB_ID,
        "identity": {"type": "string", "description": "Ours that it was asked of."},
        "prompt": {**MAYBE_TEXT, "description": "Null for a picture."},
        "seed": COUNT,
        "format": {"enum": ["ply", "spz"]},
        "intake": {"type": "string"},
        "requester": {"type": "string"},
        "state": {"enum": ["queued", "running", "done", "failed"]},
        "stage": MAYBE_TEXT,
        "steps": {"type": ["array", "null"], "items": COUNT},
        "attempts": COUNT,
        "code": MAYBE_TEXT,
        "message": MAYBE_TEXT,
        "generator": MAYBE_TEXT,
        "gaussians": MAYBE_COUNT,
        "bytes": MAYBE_COUNT,
        "timings": {"type": "object", "additionalProperties": MAYBE_SECONDS},
        "score": {"type": ["number", "null"]},
        "candidates": MAYBE_COUNT,
        "accepted_at": {"type": "number", "description": "Unix seconds, as all times here."},
        "begun_at": MAYBE_SECONDS,
        "finished_at": MAYBE_SECONDS,
        "delivered_at": MAYBE_SECONDS,
        "kept": {"type": "boolean"},
    },
}

EVENT: Schema = {
    "type": "object",
    "required": ["at", "kind", "detail"],
    "properties": {
        "at": {"type": "number"},
        "kind": {"type": "string"},
        "detail": {"type": "object"},
    },
}

VALIDATORS: Schema = {
    "type": "object",
    "required": ["asked", "peers"],
    "properties": {
        "asked": {
            "type": "array",
            "items": {"type": "object", "required": ["identity", "hotkey", "state"]},
        },
        "peers": {"type": "array", "items": {"type": "object", "required": ["hotkey", "uid"]}},
    },
}


def page_paths() -> Schema:
    """The operator's page and what it shows; not there where the page is off."""
    return {
        "/": {"get": _page_file("page", "The operator's page.", [])},
        "/web/{path}": {
            "get": _page_file("pageFile", "A file of the operator's page.", [_text("path")])
        },
        "/session": {"post": _session()},
        "/jobs": {"get": _listed("jobs", "The jobs accepted last, newest first.", JOB, [LIMIT])},
        "/jobs/{id}": {"get": _of_job("job", "One job.", as_json("The job.", JOB))},
        "/jobs/{id}/picture": {
            "get": _of_job("picture", "A small picture of a kept result.", _bytes("image/png"))
        },
        "/jobs/{id}/splat": {
            "get": _of_job(
                "splat",
                "The file of a kept result, for viewers; that does not count as delivery.",
                _bytes("application/octet-stream"),
                [ORIGINAL],
            )
        },
        "/events": {
            "get": _listed("events", "The last decisions, oldest first.", EVENT, [LIMIT, KIND])
        },
        "/validators": {
            "get": simple("validators", "Validators asked, and those of the subnet.", VALIDATORS)
        },
    }


LIMIT: Schema = {
    "name": "limit",
    "in": "query",
    "schema": {"type": "integer", "minimum": 1, "maximum": 100, "default": 24},
}
KIND: Schema = {
    "name": "kind",
    "in": "query",
    "schema": {"type": "string", "maxLength": 40},
    "description": "Of this kind alone.",
}
ORIGINAL: Schema = {
    "name": "original",
    "in": "query",
    "allowEmptyValue": True,
    "schema": {"type": "string"},
    "description": "Where it is there, the file as it was made; else an SPZ is of version 3.",
}


def _text(name: str) -> Schema:
    return {"name": name, "in": "path", "required": True, "schema": {"type": "string"}}


def _bytes(content_type: str) -> Schema:
    return {"description": "The file.", "content": {content_type: {}}}


def _page_file(name: str, summary: str, parameters: list[Schema]) -> Schema:
    types: Schema = {"text/html": {}, "text/css": {}, "text/javascript": {}, "image/svg+xml": {}}
    found = {"description": summary, "content": types}
    unchanged = {"description": "As it was."}
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": with_errors({"200": found, "304": unchanged}, "400", "403", "404"),
    }


def _session() -> Schema:
    token = {"type": "object", "required": ["token"], "properties": {"token": {"type": "string"}}}
    done = {"type": "object", "required": ["signed_in"]}
    return {
        "operationId": "signIn",
        "summary": "Trades the token for a cookie of the page.",
        "requestBody": {
            "required": True,
            "content": {"application/x-www-form-urlencoded": {"schema": token}},
        },
        "responses": with_errors({"200": as_json("Signed in.", done)}, "400", "403", "408", "413"),
    }


def _listed(name: str, summary: str, item: Schema, parameters: list[Schema]) -> Schema:
    many = {
        "type": "object",
        "required": [name],
        "properties": {name: {"type": "array", "items": item}},
    }
    return {
        "operationId": name,
        "summary": summary,
        "parameters": parameters,
        "responses": with_errors({"200": as_json(summary, many)}, "400", "403"),
    }


def _of_job(
    name: str, summary: str, found: Schema, parameters: list[Schema] | None = None
) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "parameters": [
            {"name": "id", "in": "path", "required": True, "schema": JOB_ID},
            *(parameters or []),
        ],
        "responses": with_errors({"200": found}, "400", "403", "404", "503"),
    }
