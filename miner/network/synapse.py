"""The codec of the axon protocol: synapses to headers and JSON and back; no I/O, clock or keys.

A request is ``POST /Name``: who sends it, to whom, when and with which signature stands in headers
(``bt_header_dendrite_*``, ``bt_header_axon_*``); the fields of the synapse, with the same two
terminals again, are the JSON body. The signature covers the message of ``request_message``, which
names the body only by a hash over the fields in ``required_hash_fields``: what is in no such field
is not authenticated by the transport.

This speaks what the peers of the generations 9 and 10 speak. It does not judge: signatures, nonces
and permissions are admission's.
"""

from __future__ import annotations

import json
import math
from base64 import b64encode
from collections.abc import Mapping
from hashlib import sha3_256
from typing import Any, ClassVar, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from pydantic_core import PydanticSerializationError

from miner.admission.gate import Claim
from miner.errors import MalformedRequest

SynapseT = TypeVar("SynapseT", bound="Synapse")

AXON = "bt_header_axon_"
DENDRITE = "bt_header_dendrite_"
INPUT = "bt_header_input_obj_"

PROTOCOL_VERSION = 10_005_000
"""The generation of the protocol that is spoken here, as peers write it: 10.5.0."""

EMPTY_HASH = sha3_256().hexdigest()
"""The body hash of a synapse without hash fields."""

MAX_MESSAGE = 512
"""Characters of a status message that go into a header: a line of text, never a document."""

LONG_CHARACTERS = 65_536
"""Of a text that is worth a look before it is written as JSON."""

MAX_DIGITS = 20
"""Of a whole number in a header: nanoseconds since 1970 have 19."""


class TerminalInfo(BaseModel):
    """What is said of one end of a call; every field may be absent.

    Attributes:
        status_code: of the reply, an HTTP status; 100 while there is none.
        status_message: one line for a person.
        process_time: seconds the terminal took.
        version: of the software, as one number: 10.5.0 is 10005000.
        nonce: nanoseconds of the sender's wall clock.
        uuid: of the sender's connection.
        hotkey: ss58 address.
        signature: "0x" and 128 hex digits.
    """

    model_config = ConfigDict(allow_inf_nan=False)

    status_code: int | None = None
    status_message: str | None = None
    process_time: float | None = None
    ip: str | None = None
    port: int | None = None
    version: int | None = None
    nonce: int | None = None
    uuid: str | None = None
    hotkey: str | None = None
    signature: str | None = None

    def headers(self, prefix: str) -> dict[str, str]:
        """The fields that are set, each as a header of that prefix."""
        return {prefix + key: header_text(str(value)) for key, value in self if value is not None}


TERMINAL_FIELDS = tuple(TerminalInfo.model_fields)


class Synapse(BaseModel):
    """One message of the protocol: a subclass's name is its URL path, its fields the content.

    Unknown fields are ignored, absent optional ones take their defaults. Handlers fill in the
    answer's fields by assignment.

    Attributes:
        required_hash_fields: names of the fields that the signature covers, in order.
        name: the class's name.
        timeout: seconds the sender waits for the reply.
        total_size, header_size: bytes; informational, checked by nobody.
        dendrite: the caller.
        axon: the one called, with the status of the reply.
        computed_body_hash: empty in bodies; the header of that name counts.
    """

    model_config = ConfigDict(extra="ignore", allow_inf_nan=False)

    required_hash_fields: ClassVar[tuple[str, ...]] = ()

    name: str | None = None
    timeout: float | None = 12.0
    total_size: int | None = 0
    header_size: int | None = 0
    dendrite: TerminalInfo = Field(default_factory=TerminalInfo)
    axon: TerminalInfo = Field(default_factory=TerminalInfo)
    computed_body_hash: str | None = ""

    def model_post_init(self, context: Any, /) -> None:
        """The name is the class's, whatever the sender wrote."""
        self.name = type(self).__name__

    @property
    def body_hash(self) -> str:
        """Hex SHA3-256 over the hashes of the texts of the fields that the signature covers."""
        names = self.required_hash_fields
        if not names:
            return EMPTY_HASH
        texts = [str(getattr(self, name)) for name in names]
        digests = "".join(sha3_256(text.encode()).hexdigest() for text in texts)
        return sha3_256(digests.encode()).hexdigest()

    def encode(self) -> bytes:
        """The body: JSON of all fields, UTF-8.

        Raises:
            MalformedRequest: a text is not Unicode (a lone surrogate).
        """
        # Megabytes of base64 need no escapes; copying them is several times as fast as looking.
        long = {name: value for name, value in self.__dict__.items() if _is_long_and_plain(value)}
        try:
            body = self.__pydantic_serializer__.to_json(self, exclude=set(long) or None)
        except PydanticSerializationError as error:
            raise MalformedRequest("a field cannot be written as JSON: is it all text?") from error
        if not long:
            return body
        parts = [body[:-1]]
        for name, value in long.items():
            parts += [f',"{name}":"'.encode(), value.encode(), b'"']
        return b"".join([*parts, b"}"])

    @classmethod
    def decode(cls, body: bytes) -> Self:
        """Reads a body.

        Raises:
            MalformedRequest: it is not JSON, not an object, or a field has the wrong type or range;
                the text names the field.
        """
        try:
            return cls.__pydantic_validator__.validate_json(body)  # type: ignore[no-any-return]  # typed Any there
        except ValidationError as error:
            raise MalformedRequest(_first_problem(error)) from error


def _is_long_and_plain(value: object) -> bool:
    """Whether it is a text of some length that JSON writes as it is."""
    if type(value) is not str or len(value) < LONG_CHARACTERS or not value.isascii():
        return False
    least = int(np.frombuffer(value.encode(), np.uint8).min())
    return least >= ord(" ") and '"' not in value and "\\" not in value


def _first_problem(error: ValidationError) -> str:
    """The first thing wrong, without the caller's own data: it may be large or binary."""
    first = error.errors(include_url=False, include_context=False, include_input=False)[0]
    where = ".".join(str(part) for part in first["loc"])
    return header_text(f"body: {where}: {first['msg']}" if where else f"body: {first['msg']}")


def header_text(text: str) -> str:
    """The text as it may stand in a header: one line, printable ASCII, of bounded length."""
    if len(text) <= MAX_MESSAGE and text.isascii() and text.isprintable():
        return text
    plain = text[:MAX_MESSAGE].encode("ascii", "replace").decode()
    return "".join(char if char.isprintable() else " " for char in plain)


def request_message(nonce: int, sender: str, receiver: str, uuid: str, body_hash: str) -> bytes:
    """What the caller's hotkey signs."""
    return f"{nonce}.{sender}.{receiver}.{uuid}.{body_hash}".encode()


def reply_message(nonce: int, caller: str, replier: str, uuid: str) -> bytes:
    """What the axon's hotkey signs in refusals; callers do not check it."""
    return f"{nonce}.{caller}.{replier}.{uuid}".encode()


def request_headers(synapse: Synapse) -> dict[str, str]:
    """The headers of a request, from the synapse's own terminals, which the caller has filled in.

    Required fields travel as empty values of their types, base64 of JSON: peers build a first
    synapse from headers alone.
    """
    headers = {"name": str(synapse.name), "timeout": str(synapse.timeout)}
    headers |= synapse.axon.headers(AXON)
    headers |= synapse.dendrite.headers(DENDRITE)
    headers |= _input_headers(synapse)
    headers["header_size"] = str(sum(len(k) + len(v) for k, v in headers.items()))
    headers["total_size"] = str(synapse.total_size or 0)
    headers["computed_body_hash"] = synapse.body_hash
    return headers


def _input_headers(synapse: Synapse) -> dict[str, str]:
    headers = {}
    for name, field in type(synapse).model_fields.items():
        if field.is_required():
            empty = json.dumps(type(getattr(synapse, name))())
            headers[INPUT + name] = b64encode(empty.encode()).decode()
    return headers


def read_terminal(headers: Mapping[str, str], prefix: str) -> TerminalInfo:
    """What headers of that prefix say of one end.

    Raises:
        MalformedRequest: a number is none.
    """
    found = {}
    for name in TERMINAL_FIELDS:
        value = headers.get(prefix + name)
        if value is not None and value != "None":
            found[name] = value
    try:
        return TerminalInfo.model_validate(found)
    except ValidationError as error:
        first = error.errors(include_url=False, include_context=False, include_input=False)[0]
        raise MalformedRequest(f"header {prefix}{first['loc'][0]}: {first['msg']}") from error


def merge_terminal(into: TerminalInfo, read: TerminalInfo) -> None:
    """Overwrites what ``read`` knows; the rest stays."""
    for name, value in read:
        if value is not None:
            setattr(into, name, value)


def read_claim(headers: Mapping[str, str], address: str) -> Claim:
    """What the headers of a request claim of its sender.

    Args:
        headers: of the request; names in any case.
        address: of the peer's end of the connection.

    Raises:
        MalformedRequest: a number is none, or a value is not ASCII.
    """
    get = headers.get
    return Claim(
        hotkey=_text(get(DENDRITE + "hotkey")),
        nonce=_whole("nonce", get(DENDRITE + "nonce")),
        uuid=_text(get(DENDRITE + "uuid")),
        signature=_text(get(DENDRITE + "signature")),
        body_hash=_text(get("computed_body_hash")) or "",
        timeout_seconds=_seconds(get("timeout")),
        version=_whole("version", get(DENDRITE + "version")),
        receiver=_text(get(AXON + "hotkey")),
        address=address,
    )


def _text(value: str | None) -> str | None:
    # Not Unicode: such text may not even be encodable, and the message is made of it.
    if value is not None and not value.isascii():
        raise MalformedRequest("a header of the protocol is not ASCII")
    return value


def _whole(name: str, value: str | None) -> int | None:
    if value is None or value == "None":
        return None
    if not (value.isascii() and value.isdigit() and len(value) <= MAX_DIGITS):
        raise MalformedRequest(f"header {DENDRITE}{name}: not a whole number")
    return int(value)


def _seconds(value: str | None) -> float | None:
    if value is None or value == "None":
        return None
    try:
        seconds = float(value)
    except ValueError as error:
        raise MalformedRequest("header timeout: not a number") from error
    if not (math.isfinite(seconds) and seconds >= 0):
        raise MalformedRequest("header timeout: out of range")
    return seconds
