"""The axon's answers: what peers expect of a good call, and the right refusal of others."""

from __future__ import annotations

import asyncio
import logging
import time

import pytest
import uvloop

from miner.admission.signature import Signer, verify
from miner.job import MAIN
from miner.network.protocol import Generate3D, TGPoll, TGTask
from miner.network.synapse import EMPTY_HASH, reply_message
from miner.settings.admission import AdmissionSettings
from tests.network.axon_rig import (
    GENEROUS,
    MINER,
    PATIENCE_SECONDS,
    POOR,
    STRANGER,
    VALIDATOR,
    axon_rig,
    call,
    read_reply,
    request_bytes,
    send,
    signed,
)

SECOND_NS = 1_000_000_000


async def test_a_good_request_is_answered_as_peers_expect() -> None:
    """The reply is the filled synapse as JSON, with the status in headers and in the body."""
    async with axon_rig() as rig:
        reply = await call(rig, Generate3D(prompt="ein Stuhl \U0001fa91", seed=7, timeout=30.0))

    body = reply.json()
    assert reply.status == 200
    assert reply.headers["content-type"] == "application/json"
    assert reply.headers["bt_header_axon_status_code"] == "200"
    assert reply.headers["bt_header_axon_status_message"] == "Success"
    assert float(reply.headers["bt_header_axon_process_time"]) >= 0
    assert reply.headers["name"] == body["name"] == "Generate3D"
    assert (body["prompt"], body["seed"], body["results"]) == ("ein Stuhl \U0001fa91", 7, "cGx5")
    assert (body["axon"]["status_code"], body["axon"]["status_message"]) == (200, "Success")
    assert body["dendrite"]["hotkey"] == VALIDATOR.ss58_address
    assert body["timeout"] == 30.0


async def test_each_synapse_reaches_its_handler() -> None:
    """The path says which synapse it is; a query behind it does not matter, nor GET for POST."""
    async with axon_rig() as rig:
        task = await call(rig, TGTask(prompt="a", task_id="t"))
        headers, body = signed(TGPoll(task_id="t"))
        poll = await send(rig.port, request_bytes(headers, body, "/TGPoll?x=1", method="GET"))

    assert (task.status, task.json()["status"]) == (200, "IN QUEUE")
    assert (poll.status, poll.json()["status"]) == (200, "NOT FOUND")


async def test_the_handler_is_told_who_calls() -> None:
    """The handler gets the peer of the snapshot, and a synapse whose gaps the headers fill."""
    async with axon_rig() as rig:
        headers, _ = signed(Generate3D(prompt="x", timeout=33.0))
        reply = await send(rig.port, request_bytes(headers, b'{"prompt": "x"}'))
        [(synapse, peer)] = rig.intake.seen

    assert reply.status == 200
    assert (peer.uid, peer.stake) == (1, 50_000.0)
    assert synapse.dendrite.hotkey == VALIDATOR.ss58_address
    assert synapse.axon.hotkey == MINER.ss58_address
    assert synapse.timeout == 33.0


async def test_many_requests_on_one_connection() -> None:
    """A connection is kept and answers one request after the other, also those sent ahead."""
    async with axon_rig() as rig:
        reader, writer = await asyncio.open_connection("127.0.0.1", rig.port)
        for _ in range(5):
            writer.write(request_bytes(*signed(Generate3D(prompt="a"))))
        statuses = [(await read_reply(reader)).status for _ in range(5)]
        writer.close()

    assert statuses == [200] * 5


async def test_an_unknown_synapse_lists_the_known_ones() -> None:
    """Another path is 404, and its text names what there is, as official peers say it."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"))
        reply = await send(rig.port, request_bytes(headers, body, "/Sing%0d%0a"))

    known = "Available synapses ['Generate3D', 'TGTask', 'TGPoll']"
    assert reply.status == 404
    assert reply.message == f"Synapse name 'Sing\r\n' not found. {known}"
    assert reply.headers["bt_header_axon_status_code"] == "404"
    assert reply.headers["bt_header_axon_status_message"].endswith(known)


def without(*names: str) -> dict[str, str]:
    headers, _ = signed(Generate3D(prompt="a"))
    return {key: value for key, value in headers.items() if key not in names}


@pytest.mark.parametrize(
    ("missing", "text"),
    [
        ("signature", "Missing Signature"),
        ("nonce", "Missing Nonce"),
        ("hotkey", "Missing Hotkey"),
        ("uuid", "Missing UUID"),
    ],
)
async def test_what_is_not_signed_is_refused(missing: str, text: str) -> None:
    """A request without signature, nonce, hotkey or uuid is 401 and says what is missing."""
    async with axon_rig() as rig:
        body = Generate3D(prompt="a").encode()
        reply = await send(rig.port, request_bytes(without(f"bt_header_dendrite_{missing}"), body))

        assert rig.intake.seen == []
        assert rig.counted("miner_requests_rejected_total", identity=MAIN, code="unsigned") == 1
    assert (reply.status, reply.message) == (401, f"Not Verified with error: {text}")


async def test_refusals_are_signed_by_us() -> None:
    """A refusal carries status and text in headers, and our signature over who refuses whom."""
    async with axon_rig() as rig:
        reply = await call(rig, Generate3D(prompt="a"), STRANGER)

    told = {k.removeprefix("bt_header_axon_"): v for k, v in reply.headers.items()}
    assert (reply.status, told["status_code"]) == (403, "403")
    assert told["status_message"] == reply.message
    assert told["hotkey"] == MINER.ss58_address
    assert reply.headers["bt_header_dendrite_ip"] == "127.0.0.1"
    caller = STRANGER.ss58_address
    message = reply_message(int(told["nonce"]), caller, MINER.ss58_address, told["uuid"])
    assert verify(MINER.ss58_address, message, told["signature"])


async def test_nobody_chooses_what_we_sign() -> None:
    """A caller whose hotkey holds more than letters and digits gets no signature from us."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"))
        headers["bt_header_dendrite_hotkey"] = "a.b.c"
        reply = await send(rig.port, request_bytes(headers, body))

    assert reply.status == 401
    assert "bt_header_axon_signature" not in reply.headers


@pytest.mark.parametrize("signer", [STRANGER, POOR])
async def test_who_may_not_is_forbidden(signer: Signer) -> None:
    """An unknown hotkey and one with too little stake are 403, in the words peers know."""
    async with axon_rig() as rig:
        reply = await call(rig, Generate3D(prompt="a"), signer)

        assert rig.intake.seen == []
        assert (
            rig.counted("miner_requests_rejected_total", identity=MAIN, code="not_permitted") == 1
        )
    assert reply.status == 403
    assert reply.message.startswith("Forbidden. Key is blacklisted: ")


async def test_a_wrong_signature_is_refused() -> None:
    """A request signed by another key than it names is 401."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"), STRANGER)
        headers["bt_header_dendrite_hotkey"] = VALIDATOR.ss58_address
        reply = await send(rig.port, request_bytes(headers, body))

    assert (reply.status, reply.message) == (401, "Not Verified with error: Signature mismatch")


async def test_a_replay_is_refused() -> None:
    """The same bytes are answered once, and are 401 from then on."""
    async with axon_rig() as rig:
        data = request_bytes(*signed(Generate3D(prompt="a")))
        first, second = await send(rig.port, data), await send(rig.port, data)

        assert len(rig.intake.seen) == 1
    assert (first.status, second.status) == (200, 401)
    assert "Nonce is too old" in second.message


@pytest.mark.parametrize("ahead_seconds", [-120, +60])
async def test_nonces_outside_the_window_are_refused(ahead_seconds: int) -> None:
    """A nonce that is stale, or lies too far ahead, is 401."""
    async with axon_rig() as rig:
        nonce = time.time_ns() + ahead_seconds * SECOND_NS
        reply = await call(rig, Generate3D(prompt="a", timeout=1e6), nonce=nonce)

    assert reply.status == 401
    assert reply.message.startswith("Not Verified with error: Nonce")


async def test_another_receiver_is_refused() -> None:
    """A request meant for another axon is 401, also when it does not say so in its headers."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"), receiver=POOR.ss58_address)
        named = await send(rig.port, request_bytes(headers, body))
        del headers["bt_header_axon_hotkey"]
        unnamed = await send(rig.port, request_bytes(headers, body))

    assert (named.status, unnamed.status) == (401, 401)


@pytest.mark.parametrize(
    ("was", "becomes"),
    [
        (b'"prompt":"a"', b'"prompt":"b"'),
        (b'"seed":0', b'"seed":1'),
        (b'"image":null', b'"image":"AAAA"'),
        (VALIDATOR.ss58_address.encode(), STRANGER.ss58_address.encode()),
        (MINER.ss58_address.encode(), STRANGER.ss58_address.encode()),
    ],
)
async def test_a_tampered_body_is_refused(was: bytes, becomes: bytes) -> None:
    """A body that is not the one signed, or names other peers than the headers, is 401."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"))
        assert was in body
        reply = await send(rig.port, request_bytes(headers, body.replace(was, becomes)))

        assert rig.intake.seen == []
        assert rig.counted("miner_requests_rejected_total", identity=MAIN, code="not_verified") == 1
    assert reply.status == 401


async def test_the_hash_header_is_not_believed() -> None:
    """A signed hash that is not the body's own is 401, also where the body has no hash fields."""
    async with axon_rig() as rig:
        headers, _ = signed(TGPoll(task_id="a"))
        assert headers["computed_body_hash"] == EMPTY_HASH
        forged = {**headers, **signed(Generate3D(prompt="a"))[0]}
        body = TGPoll(task_id="a").encode()
        reply = await send(rig.port, request_bytes(forged, body, "/TGPoll"))

    assert reply.status == 401
    assert "not the one that was signed" in reply.message


@pytest.mark.parametrize(
    ("prompt", "status", "text"),
    [("full", 503, "64 jobs wait already"), ("failed", 500, "no surface was found")],
)
async def test_errors_of_ours_are_told(prompt: str, status: int, text: str) -> None:
    """An error of our tree becomes its status and its text."""
    async with axon_rig() as rig:
        reply = await call(rig, Generate3D(prompt=prompt))

    assert (reply.status, reply.message) == (status, text)
    assert reply.headers["bt_header_axon_status_message"] == text


async def test_faults_are_numbered_and_kept_private(caplog: pytest.LogCaptureFixture) -> None:
    """A fault of a handler is 500 with a number; its traceback is in the log, once."""
    async with axon_rig() as rig:
        with caplog.at_level(logging.ERROR):
            reply = await call(rig, Generate3D(prompt="fault"))
        good = await call(rig, Generate3D(prompt="a"))

    number = reply.message.removeprefix("Internal Server Error #")
    assert (reply.status, good.status) == (500, 200)
    assert "secret" not in reply.message
    [record] = caplog.records
    assert number in record.getMessage()
    assert record.exc_info is not None


@pytest.mark.parametrize("factory", [asyncio.new_event_loop, uvloop.new_event_loop])
def test_the_handler_hears_that_its_client_left(factory: object) -> None:
    """A handler is cancelled when the connection closes under it, on either event loop."""

    async def scenario() -> None:
        async with axon_rig() as rig:
            _, writer = await asyncio.open_connection("127.0.0.1", rig.port)
            writer.write(request_bytes(*signed(Generate3D(prompt="wait"))))
            async with asyncio.timeout(PATIENCE_SECONDS):
                await rig.intake.entered.wait()
                writer.close()
                await rig.intake.cancelled.wait()
            assert (await call(rig, Generate3D(prompt="a"))).status == 200
            labels = {"server": "axon", "route": "Generate3D"}
            assert rig.counted("miner_http_requests_total", **labels, status="499") == 1
            assert rig.counted("miner_http_requests_total", **labels, status="200") == 1

    with asyncio.Runner(loop_factory=factory) as runner:
        runner.run(scenario())


async def test_addresses_have_a_rate() -> None:
    """An address over its rate is 429 before anything of its request is looked at."""
    settings = GENEROUS.model_copy(
        update={"requests_per_second_per_address": 1e-3, "burst_per_address": 2}
    )
    async with axon_rig(settings=settings) as rig:
        data = request_bytes({}, b"", "/Nothing")
        statuses = [(await send(rig.port, data)).status for _ in range(4)]
        other = await send(rig.port, data, source="127.0.0.2")

        assert rig.counted("miner_requests_rejected_total", identity=MAIN, code="rate_limited") == 2
    assert statuses == [404, 404, 429, 429]
    assert other.status == 404


async def test_hotkeys_have_a_rate() -> None:
    """A hotkey over its rate is 429; the nonce is not used up by that."""
    settings = AdmissionSettings(requests_per_second_per_hotkey=1e-3, burst_per_hotkey=2)
    async with axon_rig(settings=settings) as rig:
        statuses = [(await call(rig, Generate3D(prompt="a"))).status for _ in range(3)]

    assert statuses == [200, 200, 429]


async def test_other_methods_are_malformed() -> None:
    """Only POST and GET are of the protocol."""
    async with axon_rig() as rig:
        headers, body = signed(Generate3D(prompt="a"))
        reply = await send(rig.port, request_bytes(headers, body, method="DELETE"))

    assert reply.status == 400


async def test_large_results_arrive_whole() -> None:
    """A body of tens of megabytes comes in and goes out as it is."""
    image = "QUJD" * 4_000_000
    async with axon_rig() as rig:
        reply = await call(rig, Generate3D(image=image))

    assert reply.status == 200
    assert reply.json()["image"] == image
