"""What both halves of the API's description are made of: numbers, errors, and kinds of answers."""

from __future__ import annotations

from typing import Any

Schema = dict[str, Any]

JOB_ID: Schema = {"type": "string", "pattern": "^[0-9a-f]{32}$"}

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


def simple(name: str, summary: str, schema: Schema) -> Schema:
    """A page that is only read, and answers with JSON of one schema."""
    return {
        "operationId": name,
        "summary": summary,
        "responses": with_errors({"200": as_json(summary, schema)}, "403"),
    }


def as_json(description: str, schema: Schema) -> Schema:
    """An answer of JSON."""
    return {"description": description, "content": {"application/json": {"schema": schema}}}


_MEANINGS = {
    "400": "The request must be changed.",
    "401": "The miner wants its token.",
    "403": "The request comes from another site's page.",
    "404": "There is none of that name, or it is not kept any more.",
    "408": "The body did not arrive in time.",
    "413": "The body, or a text in it, is too long.",
    "500": "The job failed, or the miner did.",
    "503": "Not now: the queue is full, the daemon draining, or the deadline too short.",
    "504": "The deadline passed.",
}


def with_errors(responses: Schema, *statuses: str) -> Schema:
    """The answers with those of these statuses, and of a missing token, added."""
    meant = {status: as_json(_MEANINGS[status], ERROR) for status in ("401", *statuses)}
    return {**responses, **meant}
