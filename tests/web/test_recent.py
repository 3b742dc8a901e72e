"""What the page lists: jobs, decisions, validators, pictures; and how pictures come about."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from io import BytesIO
from pathlib import Path

import aiohttp
import numpy as np
import pytest
import pytest_asyncio
from PIL import Image

from miner import encoder
from miner.errors import NotReady, UnknownRoute
from miner.geometry.gaussians import SH_C0, Gaussians
from miner.job import Asset, Job, JobSpec
from miner.journal import Journal
from miner.network.api import Api
from miner.network.pictures import Pictures
from miner.rendering.thumbnail import MAX_SHOWN, picture, png
from miner.settings.daemon import JournalSettings
from tests.network.operator_fakes import JOB_ID, LIMITS, FakeRecord, FakeView, client_of

ECHO = "import sys; sys.stdout.buffer.write(sys.stdin.buffer.read())"


def blob(
    count: int, color: tuple[float, float, float], center: tuple[float, float, float]
) -> Gaussians:
    """A ball of small opaque Gaussians of one colour."""
    rng = np.random.default_rng(1)
    means = rng.normal(scale=0.1, size=(count, 3)) + np.array(center)
    dc = np.tile((np.array(color) - 0.5) / SH_C0, (count, 1))
    return Gaussians(
        means.astype(np.float32),
        np.full((count, 3), -3.5, np.float32),
        np.tile(np.float32([1, 0, 0, 0]), (count, 1)),
        np.full(count, 4, np.float32),
        dc.astype(np.float32),
        np.zeros((count, 0, 3), np.float32),
    )


def joined(*parts: Gaussians) -> Gaussians:
    """All of them as one."""
    names = ("means", "log_scales", "quats", "opacity_logits", "sh_dc", "sh_rest")
    return Gaussians(*(np.concatenate([getattr(part, name) for part in parts]) for name in names))


RED_LEFT_BLUE_ABOVE = joined(
    blob(400, (1, 0, 0), (-0.5, 0, 0)),
    blob(400, (0, 0, 1), (0, 0.5, 0)),
    blob(9, (0, 0, 0), (0, 0, 0)),
)


@pytest.fixture
def view() -> FakeView:
    made = FakeView()
    made.journal.records[JOB_ID] = FakeRecord()
    data = encoder.encode(RED_LEFT_BLUE_ABOVE, "spz")
    made.journal.assets[JOB_ID] = Asset(data, "spz", 809, "triposr", {})
    return made


@pytest_asyncio.fixture
async def client(view: FakeView) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of(Api(view, LIMITS).application(), view.metrics) as session:
        yield session


async def test_jobs_are_listed_newest_first(view: FakeView, client: aiohttp.ClientSession) -> None:
    """With prompt, outcome and timings, and for those in the queue what is being done."""
    view.journal.records["f" * 32] = replace(FakeRecord(), id="f" * 32, prompt=None)
    async with client.get("/jobs?limit=2") as response:
        first, second = (await response.json())["jobs"]

    assert (first["id"], first["prompt"], second["prompt"]) == (JOB_ID, "a red cube", None)
    assert first["identity"] == "main"
    assert (first["stage"], first["steps"]) == ("text_to_image", [1, 4])
    assert (first["timings"], first["kept"], second["stage"]) == ({"encode": 0.5}, True, None)
    async with client.get(f"/jobs/{JOB_ID}") as response:
        assert await response.json() == first
    async with client.get(f"/jobs/{'0' * 32}") as response:
        assert response.status == 404


@pytest.mark.parametrize("limit", ["0", "101", "x", "-1", "1e9", "9" * 5000, "٣"])
async def test_lists_are_bounded(client: aiohttp.ClientSession, limit: str) -> None:
    """A limit that is none of 1 to 100 is refused."""
    async with client.get("/jobs", params={"limit": limit}) as response:
        assert response.status == 400


async def test_decisions_of_one_kind_can_be_asked_for(client: aiohttp.ClientSession) -> None:
    """The history of rollbacks is not buried under other decisions."""
    async with client.get("/events") as response:
        assert len((await response.json())["events"]) == 2
    async with client.get("/events?kind=rollback") as response:
        [event] = (await response.json())["events"]
    assert event == {"at": 1000.0, "kind": "rollback", "detail": {"cause": "failures"}}


async def test_validators_are_those_asked_and_those_of_the_subnet(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """Whether this miner asks or is called, the page has something to show."""
    async with client.get("/validators") as response:
        shown = await response.json()
    assert shown == {"asked": [], "peers": [{"hotkey": "5F", "uid": 1, "stake": 2.0}]}

    view.asked = [{"hotkey": "5V", "state": "ready"}]
    async with client.get("/validators") as response:
        assert (await response.json())["asked"] == view.asked


async def test_pictures_and_viewers_files_come_from_the_kept_result(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """A PNG; an SPZ that viewers read; the original; and none of it is a delivery."""
    base = f"/jobs/{JOB_ID}"
    async with client.get(f"{base}/picture") as response:
        assert response.content_type == "image/png"
        pixels = np.asarray(Image.open(BytesIO(await response.read())))
    assert np.array_equal(pixels, picture(encoder.decode(view.journal.assets[JOB_ID].data)))
    async with client.get(f"{base}/splat") as response:
        shown = await response.read()
        assert shown[:2] == b"\x1f\x8b"  # gzip: version 4 and the subnet's dialect are not
        assert len(encoder.decode(shown)) == 809
    async with client.get(f"{base}/splat?original") as response:
        assert await response.read() == view.journal.assets[JOB_ID].data
        assert response.headers["Content-Disposition"].endswith(f'{JOB_ID}.spz"')
    assert view.journal.delivered == []


async def test_a_result_that_is_gone_has_no_picture(
    view: FakeView, client: aiohttp.ClientSession
) -> None:
    """What is not kept any more is not found, and what is no splat has none either."""
    view.journal.assets[JOB_ID] = Asset(b"ply\x00", "ply", 1, "triposr", {})
    for job_id in ("0" * 32, JOB_ID):
        async with client.get(f"/jobs/{job_id}/picture") as response:
            assert response.status == 404


def ratio(pixels: np.ndarray, good: Callable[[np.ndarray], np.ndarray]) -> tuple[float, float]:
    """Where on average, from the left and from above, the visible pixels of that kind are."""
    rgb, seen = pixels[..., :3].astype(int), pixels[..., 3] > 128
    rows, columns = np.nonzero(good(rgb) & seen)
    return columns.mean() / pixels.shape[1], rows.mean() / pixels.shape[0]


def test_the_picture_is_the_right_way_round() -> None:
    """Red on the left, blue above, nothing in the corners, colours as they are."""
    pixels = picture(RED_LEFT_BLUE_ABOVE)

    red_x, red_y = ratio(pixels, lambda rgb: rgb[..., 0] > 200)
    blue_x, blue_y = ratio(pixels, lambda rgb: rgb[..., 2] > 200)
    assert red_x < blue_x
    assert blue_y < red_y
    assert pixels[0, 0, 3] == pixels[-1, -1, 3] == 0
    assert pixels.shape == (192, 192, 4)


def test_what_is_in_front_hides_what_is_behind() -> None:
    """A ball before another one of another colour is the only one to be seen."""
    front, behind = (
        blob(400, (0, 1, 0), (0.24, 0.18, 0.6)),
        blob(400, (1, 0, 0), (-0.24, -0.18, -0.6)),
    )
    pixels = picture(joined(behind, front))
    middle = pixels[96 - 8 : 96 + 8, 96 - 8 : 96 + 8].reshape(-1, 4).mean(0)
    assert middle[1] > 200
    assert middle[0] < 60


@pytest.mark.parametrize("count", [0, 1, MAX_SHOWN + 500])
def test_any_number_of_gaussians_has_a_picture(count: int) -> None:
    """None, one, and more than are shown."""
    made = blob(count, (0.5, 0.5, 0.5), (0, 0, 0))
    pixels = np.asarray(Image.open(BytesIO(png(made))))
    assert bool(pixels[..., 3].any()) == bool(count)


async def test_a_picture_is_made_once(tmp_path: Path) -> None:
    """The second who asks, at the same time or later, gets what the first one's process made."""
    once = f"open({str(tmp_path / 'made')!r}, 'x'); {ECHO}"
    pictures = Pictures((sys.executable, "-c", once))
    asset = Asset(b"one", "ply", 1, "triposr", {})

    both = await asyncio.gather(*(pictures.picture(JOB_ID, asset) for _ in range(2)))

    assert [*both, await pictures.picture(JOB_ID, asset)] == [b"one"] * 3


async def test_a_picture_that_takes_too_long_is_ended() -> None:
    """Its process is gone, and whoever comes later may try again."""
    pictures = Pictures((sys.executable, "-c", "import time; time.sleep(600)"), limit_seconds=0.2)
    with pytest.raises(NotReady):
        await pictures.picture(JOB_ID, Asset(b"", "ply", 1, "triposr", {}))


async def test_a_file_without_a_picture_is_tried_once() -> None:
    """A process that fails is not started again for the same job."""
    pictures = Pictures((sys.executable, "-c", "raise SystemExit(70)"))
    asset = Asset(b"", "ply", 1, "triposr", {})
    for _ in range(2):
        with pytest.raises(UnknownRoute):
            await pictures.picture(JOB_ID, asset)


async def test_the_journal_lists_its_newest_jobs_and_one_kind_of_decision(tmp_path: Path) -> None:
    """As many as are asked for, newest job first, oldest decision first."""
    async with await Journal.open(tmp_path, JournalSettings()) as journal:
        for number in range(3):
            spec = JobSpec(prompt=f"thing {number}")
            await journal.accept(Job(f"{number:032x}", spec, "local", "api", 0.0), 1e12)
            journal.event("drain" if number else "rollback", {"number": number})
        assert [one.prompt for one in await journal.recent(2)] == ["thing 2", "thing 1"]
        assert [one.detail["number"] for one in await journal.events(9, "drain")] == [1, 2]
        assert len(await journal.events(9)) == 3
