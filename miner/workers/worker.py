"""The worker process: owns one device, does one job after the other, and answers on its channel.

    python -m miner.workers.worker --fd 7 --parent 1234 --engine miner.workers.engine:PipelineEngine

Five threads: the main one does the device's part of jobs, one makes surfaces, one encodes, one
listens, one gives signs of life. So up to three jobs are worked at, each at another stage, and one
more waits between the device and the surface. A job whose surface failed goes back to the main
thread, which decides what takes over. The process ends when the channel does, when the daemon dies,
or when the device no longer answers; it writes no files and opens no sockets. Linux only. What it
prints is for the daemon's log.
"""

from __future__ import annotations

import argparse
import ctypes
import faulthandler
import gc
import importlib
import logging
import os
import queue
import signal
import socket
import sys
import threading
import time
import traceback
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from miner.errors import (
    ChannelError,
    DeviceError,
    JobCancelled,
    MinerError,
    OutOfMemory,
    RequestError,
    StageError,
    StartupError,
    WarmupError,
)
from miner.pipeline.out_of_memory import is_out_of_memory
from miner.pipeline.unfinished import Unfinished
from miner.workers.channel import BlockingChannel, Message
from miner.workers.handle import WorkerChannel
from miner.workers.messages import (
    ALIVE,
    BROKEN,
    CANCEL,
    CONFIGURE,
    DEVICE_FREE,
    DEVICE_TAKEN,
    ERROR,
    FAILED,
    JOB,
    PROGRESS,
    READY,
    SHORT_OF_MEMORY,
    done_message,
    error_message,
    read_job,
)
from miner.workers.work import Work

if TYPE_CHECKING:
    from miner.workers.engine import (
        Engine,  # which one it is, and what that imports, the daemon says
    )

_Half = Callable[["Engine[Any]"], Any]
"""What the device's thread is to do of a job: all that comes first, or what a failure asks for."""

EXIT_DONE, EXIT_SOFTWARE = 0, 70
_PR_SET_PDEATHSIG = 1
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Worker:
    """Everything between the channel and the engine.

    The table of work is written by the listening thread, and entries are removed by whoever sends
    the answer: single operations on a dict, which threads may share.
    """

    def __init__(self, channel: WorkerChannel, engine: str) -> None:
        self._channel = channel
        self._engine_name = engine
        self._engine: Engine[Any] | None = None
        self._work: dict[int, Work] = {}
        self._for_device: queue.SimpleQueue[tuple[Work, _Half]] = queue.SimpleQueue()
        self._for_surface: queue.SimpleQueue[tuple[Work, Unfinished[Any]]] = queue.SimpleQueue()
        self._waiting_place = threading.Semaphore(1)  # of the job that waits for its surface
        self._for_encoder: queue.SimpleQueue[tuple[Work, Any]] = queue.SimpleQueue()

    def run(self) -> int:
        """Serves until the device is no longer usable; the process's exit code.

        The end of the channel ends the process from another thread.

        Raises:
            ChannelError: the daemon has gone.
        """
        first = self._channel.receive()
        if first is None or first.type != CONFIGURE:
            return EXIT_DONE
        _in_background("listen", self._listen)
        _in_background("alive", lambda: self._give_signs_of_life(first.head["heartbeat_seconds"]))
        try:
            engine = self._start(first.head["configuration"])
        except StartupError as error:
            self._send(error_message(FAILED, error))
            return error.exit_code
        _in_background("surface", lambda: self._finish(engine))
        _in_background("encode", lambda: self._encode(engine))
        return self._serve(engine)

    def _start(self, configuration: Mapping[str, Any]) -> Engine[Any]:
        """Loads and warms up, and says so.

        Thousands of modules are made meanwhile and none goes away: the collector, which would look
        through them again and again, rests, and never looks at them later.
        """
        gc.disable()
        with _translated(StartupError, "starting"):
            engine: Engine[Any] = find_engine(self._engine_name)()
        with _translated(StartupError, "loading"):
            seconds = dict(engine.load(configuration))
        self._engine = engine  # from here on its memory is read
        with _translated(WarmupError, "warming up"):
            warm_up_seconds = engine.warm_up()
        gc.freeze()
        gc.enable()
        seconds["warm_up"] = warm_up_seconds
        ready = {
            "type": READY,
            "load_seconds": seconds,
            "warm_up_seconds": warm_up_seconds,
            "generators": list(engine.generators),
            "device": engine.device,
            "plan": dict(engine.plan),
            "memory": self._memory(),
        }
        self._send(Message(ready))
        return engine

    # The main thread

    def _serve(self, engine: Engine[Any]) -> int:
        while True:
            work, half = self._for_device.get()
            try:
                work.cancel.check()
                raw = half(engine)
            except Exception as error:  # the border: what a library raises becomes ours
                ours = _as_ours(error)
                if not isinstance(ours, JobCancelled | RequestError) and not engine.usable():
                    reason = f"the device no longer answers, since: {ours}"
                    self._send(Message({"type": BROKEN, "message": reason}))
                    return EXIT_SOFTWARE
                self._tell_shortages(engine)
                self._answer(work, error_message(ERROR, ours, work.number))
                continue
            finally:
                del half  # with what it may hold of a half that failed
            self._tell_shortages(engine)
            if isinstance(raw, Unfinished):
                self._waiting_place.acquire()
            free = {"type": DEVICE_FREE, "number": work.number, "settled": engine.settled()}
            self._send(Message(free))
            if isinstance(raw, Unfinished):
                self._for_surface.put((work, raw))
            else:
                self._for_encoder.put((work, raw))
            del raw  # another thread's now: nothing here may keep its memory

    def _generate(self, work: Work, engine: Engine[Any]) -> Any:
        return engine.generate(work.spec, self._reporter(work), work.cancel, work.plan_now())

    def _tell_shortages(self, engine: Engine[Any]) -> None:
        if found := engine.shortages():
            self._send(Message({"type": SHORT_OF_MEMORY, "stages": [list(one) for one in found]}))

    def _reporter(self, work: Work) -> Callable[[str, int, int], None]:
        def report(stage: str, done: int, total: int) -> None:
            head = {"type": PROGRESS, "number": work.number}
            self._send(Message({**head, "stage": stage, "done": done, "total": total}))

        return report

    # The other threads

    def _finish(self, engine: Engine[Any]) -> None:
        """Makes the surfaces of jobs whose device half is done, one after the other."""
        while True:
            work, rest = self._for_surface.get()
            self._waiting_place.release()
            try:
                raw = rest.finish()
            except JobCancelled as error:
                self._answer(work, error_message(ERROR, error, work.number))
            except Exception as error:  # whatever it is: the device's thread knows what to do
                self._send(Message({"type": DEVICE_TAKEN, "number": work.number}))
                self._for_device.put((work, partial(_go_on, rest, error)))
            else:
                self._tell_shortages(engine)
                self._for_encoder.put((work, raw))
                del raw
            del work, rest  # the next may be long in coming

    def _encode(self, engine: Engine[Any]) -> None:
        while True:
            work, raw = self._for_encoder.get()
            try:
                answer = done_message(work.number, engine.encode(raw, work.spec.format))
            except Exception as error:  # the border, as above
                answer = error_message(ERROR, _as_ours(error), work.number)
            del raw
            self._answer(work, answer)

    def _listen(self) -> None:
        while True:
            message = self._channel.receive()
            if message is None:
                _leave(EXIT_DONE)
            elif message.type == JOB:
                work = Work(*read_job(message))
                self._work[work.number] = work
                self._for_device.put((work, partial(self._generate, work)))
            elif message.type == CANCEL and (found := self._work.get(message.head["number"])):
                found.cancel.set()

    def _give_signs_of_life(self, every_seconds: float) -> None:
        while True:
            self._send(Message({"type": ALIVE, "memory": self._memory()}))
            time.sleep(every_seconds)

    def _memory(self) -> dict[str, int]:
        memory = {"resident": resident_bytes()}
        if self._engine is not None:
            try:
                memory |= self._engine.memory()
            except Exception as error:  # a reading is not worth the process
                print(f"no reading of the device's memory: {error}", file=sys.stderr)
        return memory

    def _answer(self, work: Work, message: Message) -> None:
        self._work.pop(work.number, None)
        self._send(message)

    def _send(self, message: Message) -> None:
        self._channel.send(message.head, message.payload)


def _go_on(rest: Unfinished[Any], error: Exception, _engine: Engine[Any]) -> Any:
    return rest.again(error)


def find_engine(name: str) -> Callable[[], Engine[Any]]:
    """The class of a name like ``miner.workers.engine:PipelineEngine``.

    Raises:
        StartupError: there is none.
    """
    module, _, attribute = name.partition(":")
    try:
        found: Callable[[], Engine[Any]] = getattr(importlib.import_module(module), attribute)
    except (ImportError, AttributeError, ValueError) as error:
        raise StartupError(f"no engine {name!r}: {error}") from error
    return found


def die_with(parent: int) -> None:
    """Has the kernel kill this process when the thread that made it ends.

    Leaves at once when that is so already: it happened before we could ask.
    """
    ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        _leave(EXIT_DONE)


def resident_bytes() -> int:
    """Memory of this process that is in RAM."""
    return int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1]) * _PAGE_BYTES


class _translated:
    """Turns what a block raises into a StartupError, of ``kind`` where it is foreign."""

    def __init__(self, kind: type[StartupError], doing: str) -> None:
        self._kind = kind
        self._doing = doing

    def __enter__(self) -> None:
        pass

    def __exit__(self, _kind: Any, error: BaseException | None, _trace: Any) -> None:
        if not isinstance(error, Exception) or isinstance(error, StartupError | ChannelError):
            return
        ours = _as_ours(error)
        if isinstance(ours, OutOfMemory) and self._kind is StartupError:
            raise DeviceError(f"the models do not fit: {ours}") from error
        raise self._kind(f"{self._doing}: {ours}") from error


def _as_ours(error: Exception) -> MinerError:
    """The error itself, or the one of our tree that says the same; foreign ones are printed."""
    if isinstance(error, ChannelError):
        raise error  # nobody is there to be told
    if isinstance(error, MinerError):
        return error
    traceback.print_exception(error, file=sys.stderr)
    if isinstance(error, MemoryError):
        return OutOfMemory("worker", "the host ran out of memory")
    if is_out_of_memory(error):  # raised outside a stage, such as when a model is brought
        return OutOfMemory("worker", "the device ran out of memory")
    reason = (str(error).strip() or "no reason given").splitlines()[0][:300]
    return StageError("worker", f"{type(error).__name__}: {reason}")


def _in_background(name: str, run: Callable[[], None]) -> None:
    """Starts a thread that ends with the process, and the process with it."""

    def run_or_leave() -> None:
        try:
            run()
        except ChannelError:
            _leave(EXIT_DONE)
        except BaseException:
            traceback.print_exc()
            _leave(EXIT_SOFTWARE)

    threading.Thread(target=run_or_leave, name=name, daemon=True).start()


def _leave(code: int) -> None:
    """Ends the process now: there is nothing to save, and taking libraries down takes a second."""
    sys.stderr.flush()
    os._exit(code)


def main() -> None:
    """Runs a worker on the channel it was given."""
    parser = argparse.ArgumentParser(
        prog="miner.workers.worker", description="Started by the daemon."
    )
    parser.add_argument("--fd", type=int, required=True)
    parser.add_argument("--parent", type=int, required=True)
    parser.add_argument("--engine", required=True)
    arguments = parser.parse_args()
    die_with(arguments.parent)
    # When to stop is the daemon's decision: whoever signals the group means the daemon.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    logging.basicConfig(format="%(name)s: %(message)s", stream=sys.stderr)
    logging.getLogger("miner").setLevel(logging.INFO)
    # Where it is installed others import it, and it warns of kernels for the CPU that nobody uses.
    logging.getLogger("bitsandbytes").setLevel(logging.ERROR)
    faulthandler.enable()
    faulthandler.register(signal.SIGUSR1, all_threads=True)  # asked for before a hung one is killed
    channel = BlockingChannel(socket.socket(fileno=arguments.fd))
    try:
        code = Worker(channel, arguments.engine).run()
    except ChannelError:
        code = EXIT_DONE
    except BaseException:
        traceback.print_exc()
        code = EXIT_SOFTWARE
    _leave(code)


if __name__ == "__main__":
    main()
