"""A real Chromium without a window, spoken to in its own protocol over a websocket."""

from __future__ import annotations

import asyncio
import base64
import contextlib
import itertools
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import numpy as np
import pytest
from numpy.typing import NDArray
from PIL import Image

PATIENCE_SECONDS = 60.0
"""For what a test waits for; no rule is about this number."""

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser"))), None)

FLAGS = (
    "--headless=new",
    "--no-sandbox",
    "--use-gl=angle",
    "--use-angle=swiftshader",
    "--enable-unsafe-swiftshader",
    "--remote-debugging-port=0",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    "--hide-scrollbars",
)


def program() -> str:
    """Chromium; without one the test is skipped, and on continuous integration fails."""
    if CHROMIUM is None and os.environ.get("CI"):
        pytest.fail("chromium is not installed")
    if CHROMIUM is None:
        pytest.skip("chromium is not installed")
    return CHROMIUM


class Browser:
    """A running Chromium; ``page`` opens pages in it."""

    def __init__(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        self._socket = socket
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self._pages: dict[str, Page] = {}

    async def listen(self) -> None:
        """Hands answers and events to those they are for, until the browser ends."""
        async for message in self._socket:
            told = message.json()
            if "id" in told:
                self._answers.pop(told["id"]).set_result(told)
            elif told.get("sessionId") in self._pages:
                self._pages[told["sessionId"]].heard(told["method"], told["params"])

    async def call(self, method: str, session: str | None = None, **params: Any) -> dict[str, Any]:
        """One command and its result."""
        number = next(self._numbers)
        answer = self._answers[number] = asyncio.get_running_loop().create_future()
        command = {"id": number, "method": method, "params": params}
        await self._socket.send_json({**command, **({"sessionId": session} if session else {})})
        async with asyncio.timeout(PATIENCE_SECONDS):
            told = await answer
        assert "error" not in told, (method, told["error"])
        result: dict[str, Any] = told["result"]
        return result

    async def page(self, width: int = 1280, height: int = 900, **look: Any) -> Page:
        """A blank page of that size; ``look`` as in ``Page.look``."""
        made = await self.call("Target.createTarget", url="about:blank")
        attached = await self.call("Target.attachToTarget", targetId=made["targetId"], flatten=True)
        page = self._pages[attached["sessionId"]] = Page(self, attached["sessionId"])
        for domain in ("Page", "Runtime", "Log", "Network"):
            await page.call(f"{domain}.enable")
        await page.look(width, height, **look)
        return page


class Page:
    """One page.

    Attributes:
        errors: what its console called an error, and exceptions nobody caught.
        urls: everything it asked for.
    """

    def __init__(self, browser: Browser, session: str) -> None:
        self._browser = browser
        self._session = session
        self.errors: list[str] = []
        self.urls: list[str] = []

    def heard(self, method: str, params: dict[str, Any]) -> None:
        if method == "Runtime.exceptionThrown":
            self.errors.append(str(params["exceptionDetails"]))
        elif method == "Runtime.consoleAPICalled" and params["type"] in ("error", "assert"):
            self.errors.append(str(params["args"]))
        elif method == "Log.entryAdded" and params["entry"]["level"] == "error":
            self.errors.append(f"{params['entry']['text']} {params['entry'].get('url', '')}")
        elif method == "Network.requestWillBeSent":
            self.urls.append(params["request"]["url"])

    async def call(self, method: str, **params: Any) -> dict[str, Any]:
        return await self._browser.call(method, self._session, **params)

    async def look(
        self, width: int, height: int, *, dark: bool = False, phone: bool = False
    ) -> None:
        """Sets the size in CSS pixels, the scheme of colours, and whether it is a phone."""
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=2 if phone else 1,
            mobile=phone,
        )
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.call("Emulation.setEmulatedMedia", features=[scheme])

    async def open(self, url: str) -> None:
        await self.call("Page.navigate", url=url)

    async def ask(self, expression: str) -> Any:
        """What an expression (or a promise) is worth on the page."""
        told = await self.call(
            "Runtime.evaluate", expression=expression, returnByValue=True, awaitPromise=True
        )
        assert "exceptionDetails" not in told, told["exceptionDetails"]
        return told["result"].get("value")

    async def until(self, expression: str) -> None:
        """Returns when an expression is true there."""
        check = f"(() => {{ try {{ return !!({expression}) }} catch {{ return false }} }})()"
        end = asyncio.get_running_loop().time() + PATIENCE_SECONDS
        while not await self.ask(check):
            if asyncio.get_running_loop().time() > end:
                text = await self.ask("document.body?.innerText")
                pytest.fail(f"never true: {expression}\n{self.errors}\n{text}")
            await asyncio.sleep(0.05)

    async def press(self, key: str, code: int = 0, text: str = "") -> None:
        """One key; ``text`` for those that write."""
        for kind in ("keyDown", "keyUp"):
            await self.call(
                "Input.dispatchKeyEvent",
                type=kind,
                key=key,
                code=key,
                windowsVirtualKeyCode=code,
                **({"text": text} if text and kind == "keyDown" else {}),
            )

    async def shot(self, path: Path | None = None, whole: bool = False) -> NDArray[np.uint8]:
        """[H,W,3] uint8: what is to be seen; also put in a file."""
        told = await self.call("Page.captureScreenshot", captureBeyondViewport=whole)
        data = base64.b64decode(told["data"])
        if path is not None:
            _write(path, data)
        return np.asarray(Image.open(BytesIO(data)).convert("RGB"))


@contextlib.asynccontextmanager
async def browser(folder: Path) -> AsyncIterator[Browser]:
    """A Chromium with a profile of its own; it and all its processes are gone afterwards."""
    process = _start(folder)
    try:
        address = await _address(folder / "DevToolsActivePort", process)
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(address, max_msg_size=0) as socket,
        ):
            found = Browser(socket)
            listening = asyncio.create_task(found.listen())
            try:
                yield found
            finally:
                listening.cancel()
                await asyncio.wait([listening])
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def _start(folder: Path) -> subprocess.Popen[bytes]:
    """In a group of its own: it has many processes."""
    return subprocess.Popen(
        [program(), *FLAGS, f"--user-data-dir={folder}", "about:blank"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _write(path: Path, data: bytes) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def _told(file: Path) -> list[str]:
    return file.read_text().split("\n") if file.is_file() else []


async def _address(file: Path, process: subprocess.Popen[bytes]) -> str:
    async with asyncio.timeout(PATIENCE_SECONDS):
        while len(told := _told(file)) < 2:
            assert process.poll() is None, "chromium ended at once"
            await asyncio.sleep(0.05)
    return f"ws://127.0.0.1:{told[0]}{told[1]}"
