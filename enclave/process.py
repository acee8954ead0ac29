"""Run the enclave as a process: serve from the first moment, boot meanwhile, say nothing anywhere else."""

import asyncio
import contextlib
import signal
import threading
from collections.abc import Callable, Sequence

from enclave.boot import Boot, Surroundings
from enclave.configuration import MeasuredConfiguration
from enclave.counters import Counters
from enclave.desk import Desk
from enclave.listener import Listener
from enclave.phases import PhaseMachine
from enclave.server import Server, ServerLimits
from enclave.workloads.contract import Workload
from enclave.workloads.registry import WORKLOADS


def run(
    configuration: MeasuredConfiguration,
    surroundings: Surroundings,
    listener: Listener,
    *,
    limits: ServerLimits | None = None,
    known: Sequence[Workload] = WORKLOADS,
    listening: Callable[[], None] = lambda: None,
) -> None:
    """Serve until the process is told to end.

    Args:
        configuration: measured.
        surroundings: device, roots and dialers.
        listener: where the parent connects.
        limits: what peers can take; the defaults when None.
        known: the workloads of the image.
        listening: called once the socket takes connections.

    Raises:
        OSError: when the listener's address is not to be had.
    """
    phases, counters = PhaseMachine(), Counters()
    desk = Desk(phases, counters)
    boot = Boot(configuration, surroundings, phases=phases, counters=counters, known=known)
    server = Server(listener, desk.answer, limits=limits or ServerLimits(), counters=counters)

    def begin() -> None:
        threading.Thread(target=boot.run, args=(desk,), name="boot", daemon=True).start()
        listening()

    asyncio.run(_until_terminated(server, begin))


async def _until_terminated(server: Server, begin: Callable[[], None]) -> None:
    """Serve until SIGTERM, then close everything in order."""
    serving = asyncio.ensure_future(server.serve(begin))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await serving
