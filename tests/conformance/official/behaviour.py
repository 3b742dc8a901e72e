"""What every miner of these tests does with a prompt, ours and the official one alike.

    "fail"            raises
    "sleep SECONDS"   answers after that long
    "bytes COUNT"     answers with that many characters of base64
    anything else     answers with the prompt itself as base64

Plain Python: it is imported by interpreters that have nothing of ours and by ours that has nothing
of theirs.
"""

import asyncio
import base64

DENIED_REASON = "the hotkey has no validator permit"
"""What both servers say to the hotkey that they refuse."""


async def results_for(prompt: str) -> str:
    """The base64 text that answers a prompt.

    Raises:
        RuntimeError: where the prompt asks for it.
    """
    verb, _, argument = prompt.partition(" ")
    if verb == "fail":
        raise RuntimeError("the handler was told to fail")
    if verb == "sleep":
        await asyncio.sleep(float(argument))
    if verb == "bytes":
        return "QUJD" * (int(argument) // 4)
    return base64.b64encode(prompt.encode()).decode()
