"""The fields of an HTTP form, of a body that is whole in memory: urlencoded or multipart.

Knows HTTP's forms and nothing of what the fields mean. Everything is bounded; a field that comes
twice is refused, since programs differ in which of the two they believe.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import Message
from email.utils import collapse_rfc2231_value
from urllib.parse import parse_qsl

from miner.errors import MalformedRequest, PayloadTooLarge

MAX_FIELDS = 32
MAX_TEXT_BYTES = 64 * 1024
"""Of an urlencoded body, and of a text field: decoding megabytes of escapes would take long."""
MAX_PART_HEADER_BYTES = 4096

URLENCODED = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"

_BOUNDARY = re.compile(r"[0-9A-Za-z'()+_,./:=? -]{0,69}[0-9A-Za-z'()+_,./:=?-]")


@dataclass(frozen=True)
class Form:
    """What a form holds, by the names of its fields, as it came."""

    fields: Mapping[str, bytes] = field(default_factory=dict)

    def text(self, name: str) -> str | None:
        """A field as text, or None where it is not there.

        Raises:
            MalformedRequest: it is not UTF-8.
            PayloadTooLarge: it is longer than any text of ours.
        """
        value = self.fields.get(name)
        if value is None:
            return None
        if len(value) > MAX_TEXT_BYTES:
            raise PayloadTooLarge(f"the field {name} is longer than {MAX_TEXT_BYTES} bytes")
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError as error:
            raise MalformedRequest(f"the field {name} is not UTF-8 text") from error

    def file(self, name: str) -> bytes | None:
        """A field's bytes, or None where it is not there."""
        return self.fields.get(name)


def parse_form(content_type: str, body: bytes) -> Form:
    """The form in a body.

    Args:
        content_type: the header's whole value.
        body: not compressed.

    Raises:
        MalformedRequest: of another type, broken, or with a field twice.
        PayloadTooLarge: too many fields, or too long a text.
    """
    if not content_type.isascii():
        raise MalformedRequest("the Content-Type is not plain text")
    header = Message()
    header["Content-Type"] = content_type
    kind = header.get_content_type()
    if kind == URLENCODED:
        return _collect(_urlencoded(body))
    if kind == MULTIPART:
        return _collect(_multipart(body, _boundary(header)))
    raise MalformedRequest(f"the body must be a form: {MULTIPART} or {URLENCODED}")


def _collect(pairs: Iterator[tuple[str, bytes]]) -> Form:
    fields: dict[str, bytes] = {}
    for name, value in pairs:
        if name in fields:
            raise MalformedRequest("a field of the form comes twice")
        if len(fields) >= MAX_FIELDS:
            raise PayloadTooLarge(f"the form has more than {MAX_FIELDS} fields")
        fields[name] = value
    return Form(fields)


def _urlencoded(body: bytes) -> Iterator[tuple[str, bytes]]:
    if len(body) > MAX_TEXT_BYTES:
        raise PayloadTooLarge(f"the form is longer than {MAX_TEXT_BYTES} bytes; use {MULTIPART}")
    try:
        pairs = parse_qsl(
            body.decode("utf-8"),
            keep_blank_values=True,
            errors="strict",
            max_num_fields=2 * MAX_FIELDS,
        )
    except ValueError as error:
        raise MalformedRequest("the form is not urlencoded UTF-8 text") from error
    for name, value in pairs:
        yield name, value.encode("utf-8", "surrogatepass")


def _boundary(header: Message) -> bytes:
    try:
        boundary = header.get_boundary("")
    except (ValueError, LookupError):
        boundary = ""
    if not boundary or not _BOUNDARY.fullmatch(boundary):
        raise MalformedRequest("the form's Content-Type names no boundary as it should")
    return boundary.encode("ascii")


def _multipart(body: bytes, boundary: bytes) -> Iterator[tuple[str, bytes]]:
    """The parts, by RFC 7578; what stands before the first boundary and after the last is not."""
    line = b"--" + boundary
    start = 0 if body.startswith(line) else _after(body.find(b"\r\n" + line), 2)
    start += len(line)
    while not body.startswith(b"--", start):
        start = _end_of_line(body, start)
        end = body.find(b"\r\n" + line, start - 2)
        if end < 0:
            raise MalformedRequest("the form ends inside a part")
        yield _part(body, start, end)
        start = end + 2 + len(line)


def _after(found: int, length: int) -> int:
    if found < 0:
        raise MalformedRequest("the form's boundary is not in its body")
    return found + length


def _end_of_line(body: bytes, start: int) -> int:
    """Past the blanks and the line's end that follow a boundary."""
    end = body.find(b"\r\n", start, start + 64)
    if end < 0 or body[start:end].strip(b" \t"):
        raise MalformedRequest("a boundary of the form is not followed by a line's end")
    return end + 2


def _part(body: bytes, start: int, end: int) -> tuple[str, bytes]:
    blank = body.find(b"\r\n\r\n", start, min(end + 4, start + MAX_PART_HEADER_BYTES))
    if blank < 0 or blank > end:
        raise MalformedRequest("a part of the form has no header, or too long a one")
    header = Message()
    for line in body[start:blank].decode("latin-1").split("\r\n"):
        name, colon, value = line.partition(":")
        if colon and name.lower() in ("content-disposition", "content-transfer-encoding"):
            header[name] = value.strip()
    _check_encoding(header)
    return _name(header), body[blank + 4 : end]


def _check_encoding(header: Message) -> None:
    encoding = str(header.get("content-transfer-encoding", "binary")).lower()
    if encoding not in ("binary", "8bit", "7bit"):
        raise MalformedRequest("encoded parts are not taken; send the bytes as they are")


def _name(header: Message) -> str:
    try:
        value = header.get_param("name", header="content-disposition")
        name = None if value is None else collapse_rfc2231_value(value)
    except (ValueError, LookupError, TypeError):
        name = None
    if header.get_content_disposition() != "form-data" or not name:
        raise MalformedRequest("a part of the form has no name")
    return name
