"""The description of the HTTP API as an OpenAPI 3.1 document, written by hand.

What it says is true: tests throw made-up requests at the API and hold its answers against it.
"""

from __future__ import annotations

from typing import Any

from miner.job import MAX_SEED

Schema = dict[str, Any]

JOB_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}

PROMPT: Schema = {
    "type": "string",
    "minLength": 1,
    "maxLength": 1024,
    "description": "Something visible, without control characters.",
}

PICTURE: Schema = {
    "type": "string",
    "contentMediaType": "application/octet-stream",
    "description": "A PNG, JPEG or WebP file of up to 4096 x 4096 pixels.",
}

OPTIONS: Schema = {
    "seed": {
        "type": "integer",
        "minimum": 0,
        "maximum": MAX_SEED,
        "default": 0,
        "description": "Equal seeds give equal results.",
    },
    "format": {"type": "string", "enum": ["ply", "spz"], "default": "ply"},
    "timeout": {
        "type": "number",
        "exclusiveMinimum": 0,
        "description": "Seconds within which an answer is wanted.",
    },
}

OF_PROMPT: Schema = {
    "type": "object",
    "required": ["prompt"],
    "properties": {"prompt": PROMPT, **OPTIONS},
}

OF_PICTURE: Schema = {
    "type": "object",
    "required": ["prompt_image_file"],
    "properties": {"prompt_image_file": PICTURE, **OPTIONS},
}

ERROR: Schema = {
    "type": "object",
    "required": ["error"],
    "additionalProperties": False,
    "properties": {
        "error": {
            "type": "object",
            "required": ["code", "message"],
            "additionalProperties": False,
            "properties": {
                "code": {"type": "string", "description": "Stable, for programs."},
                "message": {"type": "string", "description": "One line, for people."},
            },
        }
    },
}

SECONDS: Schema = {"type": "number", "minimum": 0}
COUNT: Schema = {"type": "integer", "minimum": 0}
MAYBE_SECONDS: Schema = {"type": ["number", "null"]}
MAYBE_COUNT: Schema = {"type": ["integer", "null"]}
MAYBE_TEXT: Schema = {"type": ["string", "null"]}

STATUS: Schema = {
    "type": "object",
    "required": ["version", "ready", "queue", "workers", "journal", "counters"],
    "properties": {
        "version": {"type": "string"},
        "preset": {"type": "string"},
        "device": {"type": "string"},
        "hotkey": {"type": ["string", "null"]},
        "uptime_seconds": SECONDS,
        "ready": {"type": "boolean"},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "addresses": {"type": "object", "additionalProperties": {"type": "string"}},
        "generator": {"type": ["string", "null"]},
        "queue": {
            "type": "object",
            "required": ["accepting", "depth", "in_flight"],
            "properties": {
                "accepting": {"type": "boolean"},
                "depth": COUNT,
                "in_flight": COUNT,
                "service_seconds": MAYBE_SECONDS,
                "oldest_seconds": MAYBE_SECONDS,
                "jobs": {"type": "array", "items": {"type": "object", "required": ["id", "state"]}},
            },
        },
        "workers": {"type": "array", "items": {"type": "object", "required": ["name", "state"]}},
        "journal": {"type": "object", "required": ["failed", "file_bytes", "unfinished"]},
        "peers": {"type": ["object", "null"]},
        "chain": {"type": ["object", "null"]},
        "gateways": {"type": "array", "items": {"type": "object", "required": ["gateway", "owed"]}},
        "counters": {"type": "object", "additionalProperties": {"type": "number"}},
    },
}

BENCHMARK: Schema = {
    "type": "object",
    "required": ["id", "prompt", "seconds", "generator", "gaussians", "bytes", "timings"],
    "properties": {
        "id": JOB_ID,
        "prompt": {"type": "string"},
        "seconds": {**SECONDS, "description": "From submission to the finished file."},
        "generator": {"type": "string"},
        "gaussians": COUNT,
        "bytes": COUNT,
        "timings": {"type": "object", "additionalProperties": SECONDS},
    },
}

JOB: Schema = {
    "type": "object",
    "required": ["id", "prompt", "state", "timings", "accepted_at", "kept"],
    "properties": {
        "id": JOB_ID,
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
        "asked": {"type": "array", "items": {"type": "object", "required": ["hotkey", "state"]}},
        "peers": {"type": "array", "items": {"type": "object", "required": ["hotkey", "uid"]}},
    },
}

PENDING: Schema = {
    "type": "object",
    "required": ["id", "state"],
    "properties": {"id": JOB_ID, "state": {"enum": ["queued", "running"]}},
}

READY: Schema = {
    "type": "object",
    "required": ["ready", "reasons"],
    "properties": {
        "ready": {"type": "boolean"},
        "reasons": {"type": "array", "items": {"type": "string"}},
    },
}


def document(version: str) -> dict[str, Any]:
    """The whole document, for a program of this version."""
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Splat miner",
            "version": version,
            "description": "Turns prompts and pictures into Gaussian splats. Where the operator "
            "has set a token, every request carries it as Authorization: Bearer.",
        },
        "paths": {
            "/generate": {"post": _generate("generate")},
            "/generate/": {"post": _generate("generateWithSlash")},
            "/results/{id}": {"get": _result()},
            "/benchmark": {"post": _benchmark()},
            "/health": {"get": _health()},
            "/healthz": {"get": _get("alive", "Whether the process answers.", _word("ok"))},
            "/readyz": {"get": _ready()},
            "/status": {"get": _get("status", "What the daemon is doing.", STATUS)},
            "/openapi.json": {"get": _get("describe", "This document.", {"type": "object"})},
            **page_paths(),
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
        "/jobs/{id}": {"get": _of_job("job", "One job.", _json("The job.", JOB))},
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
            "get": _get("validators", "Validators asked, and those of the subnet.", VALIDATORS)
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
        "responses": _with_errors({"200": found, "304": unchanged}, "400", "403", "404"),
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
        "responses": _with_errors({"200": _json("Signed in.", done)}, "400", "403", "408", "413"),
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
        "responses": _with_errors({"200": _json(summary, many)}, "400", "403"),
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
        "responses": _with_errors({"200": found}, "400", "403", "404", "503"),
    }


def _generate(name: str) -> Schema:
    return {
        "operationId": name,
        "summary": "Makes one splat and answers with its file.",
        "parameters": [
            {
                "name": "Prefer",
                "in": "header",
                "schema": {"type": "string"},
                "description": "With respond-async the answer comes at once; see 202.",
            }
        ],
        "requestBody": {
            "required": True,
            "content": {
                "application/x-www-form-urlencoded": {"schema": OF_PROMPT},
                "multipart/form-data": {
                    "schema": {"oneOf": [OF_PROMPT, OF_PICTURE]},
                    "encoding": {
                        "prompt_image_file": {"contentType": "image/png, image/jpeg, image/webp"}
                    },
                },
            },
        },
        "responses": _with_errors(
            {"200": _file(), "202": _pending()}, "400", "403", "408", "413", "500", "503", "504"
        ),
    }


def _result() -> Schema:
    return {
        "operationId": "result",
        "summary": "The file of an earlier job, while it is kept.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": JOB_ID}],
        "responses": _with_errors(
            {"200": _file(), "202": _pending()}, "400", "403", "404", "500", "503", "504"
        ),
    }


def _benchmark() -> Schema:
    return {
        "operationId": "benchmark",
        "summary": "Makes a fixed prompt's splat and answers with what it took.",
        "responses": _with_errors(
            {"200": _json("What it took.", BENCHMARK)}, "400", "403", "500", "503", "504"
        ),
    }


def _health() -> Schema:
    healthy = _json("New work is taken.", _word("healthy"))
    return {
        "operationId": "health",
        "summary": "Whether new work is taken, in the words of the subnet's services.",
        "responses": _with_errors(
            {"200": healthy, "503": _json("It is not.", _word("unhealthy"))}, "403"
        ),
    }


def _ready() -> Schema:
    return {
        "operationId": "ready",
        "summary": "Whether new work is taken, and why not.",
        "responses": _with_errors(
            {"200": _json("It is.", READY), "503": _json("It is not.", READY)}, "403"
        ),
    }


def _get(name: str, summary: str, schema: Schema) -> Schema:
    return {
        "operationId": name,
        "summary": summary,
        "responses": _with_errors({"200": _json(summary, schema)}, "403"),
    }


def _word(word: str) -> Schema:
    return {
        "type": "object",
        "required": ["status"],
        "properties": {"status": {"const": word}},
    }


def _file() -> Schema:
    text = {"schema": {"type": "string"}}
    return {
        "description": "The splat.",
        "headers": {
            "Miner-Job": text,
            "Miner-Generator": text,
            "Miner-Gaussians": text,
            "Miner-Seconds": text,
        },
        "content": {"application/octet-stream": {}},
    }


def _pending() -> Schema:
    return {
        **_json("Accepted; the result will be at the Location.", PENDING),
        "headers": {"Location": {"schema": {"type": "string"}}},
    }


def _json(description: str, schema: Schema) -> Schema:
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_MEANINGS = {
    "400": "The request must be changed.",
    "401": "The miner wants its token.",
    "403": "The request comes from another site's page.",
    "404": "There is no such job, or its result is not kept any more.",
    "408": "The body did not arrive in time.",
    "413": "The body, or a text in it, is too long.",
    "500": "The job failed, or the miner did.",
    "503": "Not now: the queue is full, the daemon draining, or the deadline too short.",
    "504": "The deadline passed.",
}


def _with_errors(responses: Schema, *statuses: str) -> Schema:
    meant = {status: _json(_MEANINGS[status], ERROR) for status in ("401", *statuses)}
    return {**responses, **meant}
