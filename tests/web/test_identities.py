"""The operator's page in a real browser, over a real daemon of one hotkey and of three."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from miner.network.protocol import Generate3D
from tests.app.running import daemon
from tests.app.several import several
from tests.web.browser import Browser, Page, browser, program

pytestmark = pytest.mark.timeout(300)

OUT = Path("out/web")
FEW = "document.querySelector('#badge').textContent === 'Ready, 2 of 3 identities'"


@pytest_asyncio.fixture
async def chromium(tmp_path: Path) -> AsyncIterator[Browser]:
    program()
    async with browser(tmp_path / "profile") as found:
        yield found


@pytest.fixture
def taken() -> Iterator[int]:
    """A port on which an axon cannot listen."""
    with socket.create_server(("127.0.0.1", 0)) as there:
        yield there.getsockname()[1]


async def rows(page: Page, table: str) -> list[list[str]]:
    """The cells of a table as text, heading first."""
    found: list[list[str]] = await page.ask(
        f"[...document.querySelectorAll('#{table} tr')]"
        ".map((row) => [...row.children].map((cell) => cell.textContent))"
    )
    return found


async def test_each_of_several_hotkeys_has_its_line(
    tmp_path: Path, taken: int, chromium: Browser
) -> None:
    """How each is and what is in its way is shown, and of jobs and validators whose they are.

    On a phone nothing runs over the edge, and dark is as readable as light.
    """
    free = "axon.port = 0"
    tables = {"north": free, "south": f"axon.port = {taken}", "west": free}
    page = await chromium.page(1280, 1100)
    (tmp_path / "miner").mkdir()
    async with several(tmp_path / "miner", tables) as (running, dendrite):
        await running.call(dendrite, "west", Generate3D(prompt="a mug"))
        await page.open(running.status()["addresses"]["api"])
        await page.until(FEW)
        await page.until("document.querySelector('#results .tile')")
        heading, *shown = await rows(page, "identities")
        whose = await page.ask("document.querySelector('#results .tile').innerText")
        trouble = await page.ask("document.querySelector('#identities-troubles').innerText")
        validators = await rows(page, "validators")
        await page.shot(OUT / "identities-light.png", whole=True)
        await page.look(1280, 1100, dark=True)
        await page.shot(OUT / "identities-dark.png")
        await page.look(390, 844, phone=True, dark=True)
        await page.until("document.documentElement.scrollWidth <= innerWidth")
        await page.shot(OUT / "identities-phone-dark.png", whole=True)

    assert heading[:3] == ["Identity", "State", "Waiting"]
    states = {name: state for name, state, *_ in shown}
    assert states == {"north": "ready", "south": "not ready", "west": "ready"}
    assert [key[:6] for _, _, _, key, *_ in shown] == [key[:6] for key in running.hotkeys.values()]
    assert "south" in trouble and f"cannot listen on 127.0.0.1:{taken}" in trouble
    assert "asked of west" in whose
    assert "west" in validators[1] and validators[0][-2] == "Identity"
    assert [one for one in page.errors if "/picture" not in one] == []  # the fake made no splat


async def test_the_keyboard_reaches_a_wide_table(tmp_path: Path, chromium: Browser) -> None:
    """The table's box can be focused to be scrolled, and has a name for those who do not see it."""
    page = await chromium.page(390, 844, phone=True)
    (tmp_path / "miner").mkdir()
    tables = {"north": "axon.port = 0", "south": "axon.port = 0"}
    async with several(tmp_path / "miner", tables) as (running, _):
        await page.open(running.status()["addresses"]["api"])
        await page.until("document.querySelector('#identities table')")
        await page.ask("document.querySelector('#try-go').focus()")
        await page.press("Tab", 9)

        assert await page.ask("document.activeElement.id") == "identities"
        nodes = (await page.call("Accessibility.getFullAXTree"))["nodes"]
    names = {(node["role"]["value"], node.get("name", {}).get("value")) for node in nodes}
    assert ("region", "Identities") in names


async def test_a_single_hotkey_has_no_table(tmp_path: Path, chromium: Browser) -> None:
    """Its key stands in the page's head, and neither jobs nor validators speak of identities."""
    page = await chromium.page()
    (tmp_path / "miner").mkdir()
    async with daemon(tmp_path / "miner") as running:
        await page.open(running.status()["addresses"]["api"])
        await page.until("document.querySelector('#badge').textContent === 'Ready'")
        await page.until("document.querySelector('#validators table')")

        assert await page.ask("document.querySelector('#identities-box').hidden")
        assert running.hotkey[:6] in await page.ask("document.querySelector('#facts').innerText")
        assert "Identity" not in (await rows(page, "validators"))[0]
