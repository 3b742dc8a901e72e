"""The description of the HTTP API as an OpenAPI 3.1 document, written by hand.

What it says is true: tests throw made-up requests at the API and hold its answers against it.
"""

from __future__ import annotations

from typing import Any

from miner.job import MAX_SEED
from miner.network.openapi_page import page_paths
from miner.network.openapi_parts import (
    COUNT,
    JOB_ID,
    MAYBE_SECONDS,
    MAYBE_TEXT,
    SECONDS,
    Schema,
    as_json,
    simple,
    with_errors,
)

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

IDENTITY: Schema = {
    "type": "object",
    "required": ["name", "hotkey", "ready", "reasons", "waiting", "peers", "chain"],
    "properties": {
        "name": {"type": "string"},
        "hotkey": MAYBE_TEXT,
        "ready": {"type": "boolean", "description": "Workers, queue and journal apart."},
        "reasons": {"type": "array", "items": {"type": "string"}},
        "waiting": COUNT,
        "peers": {"type": ["object", "null"], "required": ["count", "age_seconds"]},
        "chain": {"type": ["object", "null"], "required": ["network", "netuid", "standing"]},
    },
}

STATUS: Schema = {
    "type": "object",
    "required": ["version", "ready", "queue", "workers", "journal", "identities", "counters"],
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
        "peers": {"type": ["object", "null"], "description": "The first identity's, as chain."},
        "chain": {"type": ["object", "null"]},
        "identities": {"type": "array", "minItems": 1, "items": IDENTITY},
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
        "identities": {
            "type": "object",
            "additionalProperties": {"type": "boolean"},
            "description": "Whether each takes new work; where there are several.",
        },
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
            "/healthz": {"get": simple("alive", "Whether the process answers.", _word("ok"))},
            "/readyz": {"get": _ready()},
            "/status": {"get": simple("status", "What the daemon is doing.", STATUS)},
            "/openapi.json": {"get": simple("describe", "This document.", {"type": "object"})},
            **page_paths(),
        },
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
        "responses": with_errors(
            {"200": _file(), "202": _pending()}, "400", "403", "408", "413", "500", "503", "504"
        ),
    }


def _result() -> Schema:
    return {
        "operationId": "result",
        "summary": "The file of an earlier job, while it is kept.",
        "parameters": [{"name": "id", "in": "path", "required": True, "schema": JOB_ID}],
        "responses": with_errors(
            {"200": _file(), "202": _pending()}, "400", "403", "404", "500", "503", "504"
        ),
    }


def _benchmark() -> Schema:
    return {
        "operationId": "benchmark",
        "summary": "Makes a fixed prompt's splat and answers with what it took.",
        "responses": with_errors(
            {"200": as_json("What it took.", BENCHMARK)}, "400", "403", "500", "503", "504"
        ),
    }


def _health() -> Schema:
    healthy = as_json("New work is taken.", _word("healthy"))
    return {
        "operationId": "health",
        "summary": "Whether new work is taken, in the words of the subnet's services.",
        "responses": with_errors(
            {"200": healthy, "503": as_json("It is not.", _word("unhealthy"))}, "403"
        ),
    }


def _ready() -> Schema:
    return {
        "operationId": "ready",
        "summary": "Whether new work is taken, and why not.",
        "parameters": [
            {
                "name": "identity",
                "in": "query",
                "schema": {"type": "string"},
                "description": "Whether the work of this one is; else that of any.",
            }
        ],
        "responses": with_errors(
            {"200": as_json("It is.", READY), "503": as_json("It is not.", READY)}, "403", "404"
        ),
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
        **as_json("Accepted; the result will be at the Location.", PENDING),
        "headers": {"Location": {"schema": {"type": "string"}}},
    }
