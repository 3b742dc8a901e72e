"""An official server on a port of this machine, made without the internet and waited for."""

import time
import urllib.error
import urllib.request
from types import SimpleNamespace
from typing import Any

import bittensor
from bittensor_wallet import Keypair

START_SECONDS = 20.0


def make_axon(keypair: Keypair, port: int) -> Any:
    """A server that does not listen yet: functions are attached to it first."""
    axon = bittensor.Axon(
        wallet=SimpleNamespace(hotkey=keypair, coldkeypub=keypair),
        ip="127.0.0.1",
        port=port,
        external_ip="127.0.0.1",
        external_port=port,
    )
    # The default reads the flag's value from a configuration that the constructor has copied.
    axon.fast_config.host = "127.0.0.1"
    return axon


def wait_until_it_listens(port: int) -> None:
    """Asks for a page that is not there until something answers."""
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        try:
            urllib.request.urlopen(f"http://127.0.0.1:{port}/", timeout=1)
        except urllib.error.HTTPError:
            return
        except OSError:
            time.sleep(0.05)
    raise SystemExit("the official server did not listen")
