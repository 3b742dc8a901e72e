"""HTTP forms: what honest clients send arrives unchanged, and everything else is refused."""

from __future__ import annotations

import aiohttp
import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.errors import MalformedRequest, PayloadTooLarge
from miner.network.forms import MAX_FIELDS, MAX_TEXT_BYTES, MULTIPART, URLENCODED, parse_form

TYPE = f"{MULTIPART}; boundary=b0"

names = st.text(st.characters(min_codepoint=97, max_codepoint=122), min_size=1, max_size=10)
texts = st.text(st.characters(exclude_categories=["Cs"]))


class Sink:
    """Takes what the client library would send."""

    def __init__(self) -> None:
        self.body = b""

    async def write(self, chunk: bytes) -> None:
        self.body += chunk


def part(body: bytes, disposition: str = 'form-data; name="a"', more: str = "") -> bytes:
    header = f"--b0\r\nContent-Disposition: {disposition}\r\n{more}\r\n".encode()
    return header + body + b"\r\n"


@given(st.dictionaries(names, texts, max_size=8))
async def test_urlencoded_fields_arrive_unchanged(fields: dict[str, str]) -> None:
    """What the client library encodes is what is read."""
    payload = aiohttp.FormData(fields)()
    sink = Sink()
    await payload.write(sink)  # type: ignore[arg-type]

    form = parse_form(URLENCODED + "; charset=utf-8", sink.body)

    assert {name: form.text(name) for name in form.fields} == fields


@given(st.dictionaries(names, st.binary(max_size=500), min_size=1, max_size=8))
async def test_multipart_fields_arrive_unchanged(fields: dict[str, bytes]) -> None:
    """Files of any bytes come out as they went in, from the client library's own writer."""
    data = aiohttp.FormData()
    for name, value in fields.items():
        data.add_field(name, value, filename="\u00e4 picture.png", content_type="image/png")
    payload = data()
    sink = Sink()
    await payload.write(sink)  # type: ignore[arg-type]

    form = parse_form(payload.headers["Content-Type"], sink.body)

    assert form.fields == fields


@given(
    content_type=st.sampled_from([TYPE, URLENCODED, f'{MULTIPART}; boundary="b0"']) | st.text(),
    body=st.binary()
    | st.lists(
        st.sampled_from(
            [
                b"--b0",
                b"--",
                b"\r\n",
                b"\r\n\r\n",
                b'Content-Disposition: form-data; name="a"',
                b"x",
            ]
        )
    ).map(b"".join),
)
def test_garbage_is_refused_and_nothing_worse(content_type: str, body: bytes) -> None:
    """Whatever the body, there is a form or one of the two refusals."""
    try:
        form = parse_form(content_type, body)
    except (MalformedRequest, PayloadTooLarge):
        return
    assert all(isinstance(value, bytes) for value in form.fields.values())


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("", b""),
        ("application/json", b"{}"),
        (MULTIPART, part(b"x") + b"--b0--"),
        (f"{MULTIPART}; boundary=" + "b" * 71, b""),
        (f"{MULTIPART}; boundary=\u20ac", b"--?--"),
        (TYPE, b""),
        (TYPE, part(b"x")),
        (TYPE, part(b"x") + b"--b0garbage\r\n"),
        (TYPE, b"--b0\r\n\r\nno name\r\n--b0--"),
        (TYPE, part(b"x", "attachment; name=a") + b"--b0--"),
        (TYPE, part(b"x", "form-data") + b"--b0--"),
        (TYPE, part(b"eA==", more="Content-Transfer-Encoding: base64\r\n") + b"--b0--"),
        (TYPE, part(b"x", more="X-Long: " + "x" * 5000 + "\r\n") + b"--b0--"),
        (TYPE, part(b"x") + part(b"y") + b"--b0--"),
        (URLENCODED, b"a=1&a=2"),
        (URLENCODED, b"\xff=1"),
        (URLENCODED, b"&".join(b"a%d=" % number for number in range(3 * MAX_FIELDS))),
    ],
)
def test_a_broken_form_is_refused(content_type: str, body: bytes) -> None:
    """Another type, no boundary, an end in the middle, no name, encoded parts, a field twice."""
    with pytest.raises(MalformedRequest):
        parse_form(content_type, body)


def test_a_form_of_another_size_than_ours_is_refused() -> None:
    """Too many parts, an urlencoded form of megabytes, and a text like a file."""
    many = b"".join(part(b"", f'form-data; name="a{n}"') for n in range(MAX_FIELDS + 1))
    with pytest.raises(PayloadTooLarge):
        parse_form(TYPE, many + b"--b0--")
    with pytest.raises(PayloadTooLarge):
        parse_form(URLENCODED, b"a=" + b"%20" * MAX_TEXT_BYTES)
    form = parse_form(TYPE, part(bytes(MAX_TEXT_BYTES + 1)) + b"--b0--")
    assert form.file("a") == bytes(MAX_TEXT_BYTES + 1)
    with pytest.raises(PayloadTooLarge):
        form.text("a")


def test_what_stands_around_the_parts_is_passed_over() -> None:
    """A preamble, an epilogue and blanks after a boundary are as the standard allows."""
    body = b"hello\r\n--b0  \r\nContent-Disposition: form-data; name=a\r\n\r\n1\r\n--b0--\r\nbye"
    assert parse_form(TYPE, body).fields == {"a": b"1"}


def test_a_text_that_is_not_utf8_is_refused() -> None:
    """The field may be a file; as text it is refused."""
    form = parse_form(TYPE, part(b"\xff") + b"--b0--")
    with pytest.raises(MalformedRequest):
        form.text("a")
    assert form.text("b") is None
