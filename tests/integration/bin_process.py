"""A bin's telemetry as a process of its own, for tests that kill it.

bin_process.py connect STATE PORT    connect to the broker and stay
bin_process.py store STATE           store events, and print the id of each that is stored
"""

from __future__ import annotations

import sys
import threading
from pathlib import Path

from mqtt_parts import bin_config, sort_event

from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core.clock import SystemClock
from bin_daemon.core.messages import Outcome
from bin_daemon.store.outbox import Outbox
from bin_daemon.telemetry.publisher import STORE_NAME, Publisher


def connect(state: Path, port: int) -> None:
    """Be online until killed."""
    config = bin_config({"host": "127.0.0.1", "port": port})
    clock = SystemClock()
    Publisher(config, state, clock, Dispatcher({}, clock)).start()
    threading.Event().wait()


def store(state: Path) -> None:
    """Store one event after the other until killed."""
    outbox = Outbox(state / STORE_NAME, bin_config(None).store)
    session = outbox.open_session()
    for seq in range(1, 1_000_000):
        event = sort_event(session, seq)
        outbox.decide(event)
        outbox.complete(event.id, Outcome.SORTED, event.decided_at, {})
        print(event.id, flush=True)


if __name__ == "__main__":
    if sys.argv[1] == "connect":
        connect(Path(sys.argv[2]), int(sys.argv[3]))
    else:
        store(Path(sys.argv[2]))
