"""The operator's page in a real browser, over a real daemon on the preset ``mini``."""

from __future__ import annotations

import asyncio
import itertools
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import numpy as np
import pytest
import pytest_asyncio
from numpy.typing import NDArray

from miner.admission.signature import new_hotkey
from miner.commands.demo_miner import DemoMiner, running, write_settings
from tests.app.running import daemon as quick_daemon
from tests.web.browser import PATIENCE_SECONDS, Browser, Page, browser, program

pytestmark = [pytest.mark.timeout(300), pytest.mark.long]

OUT = Path("out/web")
TOKEN = "0123456789abcdef-of-this-test"
READY = "document.querySelector('#badge').textContent.startsWith('Ready')"
DONE = "document.querySelector('#try-says button')"
PICTURES = (
    "document.querySelectorAll('#results img').length && "
    "[...document.querySelectorAll('#results img')].every((one) => one.naturalWidth)"
)
SHOWN = "document.querySelector('#canvas').dataset.state === 'shown'"


@pytest.fixture(scope="module")
def miner(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DemoMiner]:
    program()
    folder = tmp_path_factory.mktemp("miner")
    settings, hotkey = write_settings(folder, [(new_hotkey(b"v" * 32), 5000.0)])
    with running(settings, hotkey, folder / "log") as found:
        yield found


@pytest_asyncio.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Browser]:
    async with browser(tmp_path / "profile") as found:
        yield found


async def order(page: Page, prompt: str) -> None:
    """Writes a prompt into the box and sends it with the keyboard alone."""
    await page.ask("document.querySelector('#try input').focus()")
    await page.ask("document.querySelector('#try input').select()")
    await page.call("Input.insertText", text=prompt)
    await page.press("Enter", 13, "\r")


def reddish(pixels: NDArray[np.uint8]) -> float:
    """The share of the picture that is plainly red."""
    r, g, b = (pixels[..., channel].astype(int) for channel in range(3))
    return float(((r > 120) & (r > 2 * g) & (r > 2 * b)).mean())


async def stage(page: Page) -> NDArray[np.uint8]:
    """The pixels of the canvas."""
    box = await page.ask(
        "(({x, y, width, height}) => ({x, y, width, height}))"
        "(document.querySelector('#canvas').getBoundingClientRect())"
    )
    pixels = await page.shot()
    scale = pixels.shape[1] / await page.ask("innerWidth")
    left, top, width, height = (int(box[key] * scale) for key in ("x", "y", "width", "height"))
    return pixels[top : top + height, left : left + width]


async def drawn(page: Page) -> NDArray[np.uint8]:
    """The pixels of the canvas once the thing is there and drawn twice alike."""
    before = await stage(page)
    async with asyncio.timeout(PATIENCE_SECONDS):
        while reddish(pixels := await stage(page)) < 0.02 or not np.array_equal(pixels, before):
            before = pixels
            await asyncio.sleep(0.2)
    return pixels


async def test_a_prompt_becomes_a_splat_on_the_screen(miner: DemoMiner, chromium: Browser) -> None:
    """By keyboard: order, wait, open, turn; the thing is in the middle, in its colour, and moves.

    All along no error in the console, and nothing asked of any other host.
    """
    page = await chromium.page()
    url = miner.addresses["api"]
    await page.open(url)
    await page.until(READY)
    await order(page, "a red cube")
    await page.until("!document.querySelector('#try-progress').hidden")
    await page.until(DONE)
    await page.until(PICTURES)
    await page.until("document.querySelectorAll('#chart rect').length > 3")
    await page.shot(OUT / "desktop-light.png", whole=True)
    assert reddish(await page.shot()) > 0.003

    await page.ask("document.querySelector('button.tile').focus()")
    await page.press("Enter", 13, "\r")
    await page.until(SHOWN)
    before = await drawn(page)
    await page.shot(OUT / "viewer-light.png")
    height, width, _ = before.shape
    middle = before[height * 3 // 8 : height * 5 // 8, width * 3 // 8 : width * 5 // 8]
    assert reddish(middle) > 0.8
    assert reddish(before[: height // 12]) == 0
    assert await page.ask("document.activeElement.id") == "canvas"
    frames = await page.ask("Number(document.querySelector('#canvas').dataset.frames)")
    await page.press("ArrowLeft", 37)
    await page.press("ArrowUp", 38)
    await page.until(f"Number(document.querySelector('#canvas').dataset.frames) > {frames + 2}")
    after = await stage(page)
    assert np.abs(after.astype(int) - before).mean() > 0.5

    await page.press("Escape", 27)
    await page.until("!document.querySelector('#viewer').open")
    assert await page.ask("document.activeElement.classList.contains('tile')")
    assert page.errors == []
    asked = [one for one in page.urls if not one.startswith((url, "data:", "blob:", "about:"))]
    assert asked == []


async def test_it_is_in_order_on_phone_and_desktop_dark_and_light(
    miner: DemoMiner, chromium: Browser
) -> None:
    """Nothing runs over the edge of a phone, buttons can be hit, dark is dark; an SPZ shows too."""
    page = await chromium.page(390, 844, phone=True, dark=True)
    await page.open(miner.addresses["api"])
    await page.until(READY)
    await page.ask("document.querySelector('#try select').value = 'spz'")
    await order(page, "a red ball")
    await page.until(DONE)
    await page.until(PICTURES)
    pixels = await page.shot(OUT / "phone-dark.png")
    assert np.median(pixels) < 60
    assert await page.ask("document.documentElement.scrollWidth <= innerWidth")
    assert await page.ask(
        "[...document.querySelectorAll('button, input, select')].every("
        "(one) => !one.offsetParent || one.closest('.says') || one.offsetHeight >= 40)"
    )
    await page.ask(f"{DONE}.click()")
    await page.until(SHOWN)
    assert reddish(await drawn(page)) > 0.08
    await page.shot(OUT / "viewer-phone-dark.png")
    await page.ask("document.querySelector('#viewer').close()")

    await page.look(390, 844, phone=True)
    assert np.median(await page.shot(OUT / "phone-light.png", whole=True)) > 200
    await page.look(1280, 900, dark=True)
    assert np.median(await page.shot(OUT / "desktop-dark.png")) < 60
    assert page.errors == []


async def test_everything_has_a_name(miner: DemoMiner, chromium: Browser) -> None:
    """Whatever can be focused has a name in the accessibility tree, and headings do not skip."""
    page = await chromium.page()
    await page.open(miner.addresses["api"])
    await page.until("document.body.dataset.rounds > 0")
    nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    nameless = [
        node
        for node in nodes
        if any(p["name"] == "focusable" and p["value"]["value"] for p in node.get("properties", []))
        and node["role"]["value"] not in ("RootWebArea", "main")
        and not node.get("name", {}).get("value")
    ]
    assert nameless == []
    levels = await page.ask(
        "[...document.querySelectorAll('main h2, main h3, h1')]"
        ".map((one) => Number(one.tagName[1]))"
    )
    assert levels[0] == 1
    assert all(new - old <= 1 for old, new in itertools.pairwise(levels))


async def test_it_signs_in_and_survives_a_restart(tmp_path: Path, chromium: Browser) -> None:
    """With a token the page asks for it; killed and started again, the miner is found again."""
    (tmp_path / "token").write_text(TOKEN)
    (tmp_path / "miner").mkdir()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    api = {"port": port, "token_file": str(tmp_path / "token")}
    page = await chromium.page()
    async with quick_daemon(tmp_path / "miner", api=api) as miner:
        await page.open(f"http://127.0.0.1:{port}")
        await page.until("document.querySelector('#signin').open")
        await page.call("Input.insertText", text=TOKEN)
        await page.press("Enter", 13, "\r")
        await page.until(READY)
        assert not await page.ask("document.querySelector('#signin').open")
        await miner.end(signal.SIGKILL)
        await page.until("!document.querySelector('#notice').hidden")
        await page.shot(OUT / "away.png")
        await miner.start()
        await page.until(f"document.querySelector('#notice').hidden && {READY}")
    unexpected = [one for one in page.errors if "401" not in one and "ERR_" not in one]
    assert unexpected == []
