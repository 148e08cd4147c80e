"""Store one event after the other until the power goes (store.py CONFIG FOLDER).

Prints the id of each event that the installed package says it has stored.
"""

import sys
from pathlib import Path

from bin_daemon.config.load import load_config
from bin_daemon.core.clock import SystemClock, boot_id, uuid7
from bin_daemon.core.messages import Outcome, SortEvent
from bin_daemon.store.outbox import Outbox
from bin_daemon.telemetry.publisher import STORE_NAME

folder = Path(sys.argv[2])
folder.mkdir()
clock = SystemClock()
outbox = Outbox(folder / STORE_NAME, load_config(Path(sys.argv[1])).store)
session = outbox.open_session()
for seq in range(1, 1_000_000):
    event = SortEvent(
        id=uuid7(clock.time()),
        session=session,
        seq=seq,
        decided_at=clock.time(),
        label="metal",
        confidence=0.9,
        top_k=(("metal", 0.9),),
        route="recyclables",
        reason="metal 0.90",
        model="waste6@1",
        looks=3,
        item={},
        timings_ms={},
        boot_id=boot_id(),
        monotonic_s=clock.monotonic(),
        clock_synced=False,
    )
    outbox.decide(event)
    outbox.complete(event.id, Outcome.SORTED, event.decided_at, {})
    print(event.id, flush=True)
