"""The commands that a bin takes, from any thread: one set of verbs for every channel.

Remote commands (and a local console) call the verbs. All but `correct` only queue their action,
which the sorting thread carries out between two frames; `correct` hands its picture to the
collector at once. Nothing here moves anything in the caller's thread.
"""

from __future__ import annotations

import logging
import queue
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from bin_daemon.control.dispatcher import Verb
from bin_daemon.core.errors import UsageError
from bin_daemon.sorting.sorter import State

if TYPE_CHECKING:
    from bin_daemon.daemon.bin import Bin

log = logging.getLogger(__name__)

_AT_REST = (State.WAITING, State.PAUSED)


class VerbQueue:
    """The verbs of a bin and the actions that they have queued.

    `verbs`: by name, callable from any thread; each raises UsageError where it makes no sense now.
    running: gives the bin, or raises UsageError while there is none.
    """

    def __init__(self, running: Callable[[], Bin]) -> None:
        self._running = running
        self._waiting: queue.SimpleQueue[tuple[Callable[[Bin], None], bool]] = queue.SimpleQueue()
        self.verbs: Mapping[str, Verb] = {
            "pause": self._verb(lambda bin_: bin_.cycle.sorter.pause()),
            "resume": self._verb(lambda bin_: bin_.cycle.sorter.resume()),
            "clear": self._verb(lambda bin_: bin_.cycle.clear()),
            "home": self._verb(lambda bin_: bin_.chute.home(), at_rest=True),
            "learn": self._verb(lambda bin_: bin_.chamber.learn(), at_rest=True),
            "correct": self._correct,
        }

    def carry_out(self, bin_: Bin) -> None:
        """Carry out what is queued; for the sorting thread."""
        while not self._waiting.empty():
            action, at_rest = self._waiting.get()
            if at_rest and bin_.cycle.state not in _AT_REST:
                log.warning("a command came too late: the bin is %s", bin_.cycle.state)
            else:
                action(bin_)

    def _correct(self, args: Mapping[str, Any]) -> None:
        """Moves nothing, so it need not wait for the sorting thread."""
        if set(args) != {"event", "label"} or not all(isinstance(v, str) for v in args.values()):
            raise UsageError('takes {"event": id of an item, "label": its true class}')
        self._running().correct(args["event"], args["label"])

    def _verb(self, action: Callable[[Bin], None], at_rest: bool = False) -> Verb:
        def verb(args: Mapping[str, Any]) -> None:
            if args:
                raise UsageError(f"takes no arguments, not {', '.join(args)}")
            state = self._running().cycle.state
            if at_rest and state not in _AT_REST:
                raise UsageError(f"the bin is {state}; try again when it is waiting")
            self._waiting.put((action, at_rest))

        return verb
