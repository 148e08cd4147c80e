"""Which head is in force: put there, taken back, and carried over to another network.

A state directory and a classifier flow in, the head to use and words on it flow out. A head is
changed in single steps of the file system, so that a kill at any moment leaves the former one or
the new one, and what `undo` needs.
"""

from __future__ import annotations

import contextlib
import logging
import os
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon import paths
from bin_daemon.classifier import Classifier
from bin_daemon.config import Config
from bin_daemon.errors import BinDaemonError, ModelError, PictureError, StoreError, UsageError
from bin_daemon.files import write_whole
from bin_daemon.messages import Image
from bin_daemon.teaching.head import Base, Head

if TYPE_CHECKING:
    from bin_daemon.teaching.lesson import Lesson
    from bin_daemon.teaching.samples import Samples

log = logging.getLogger(__name__)


def activate(state: Path, head: Head) -> None:
    """Put `head` in force; `undo` brings the former one back. Raises StoreError."""
    active, previous = paths.taught_head(state), _previous(state)
    with _complaints(active):
        try:
            former = active.read_bytes()
        except FileNotFoundError:
            former = b""  # nothing to go back to but the package as it ships
        like = _owner(active.parent)
        write_whole(previous, former, like=like)
        head.save(active, like)


def undo(state: Path) -> Head | None:
    """Go back to the head before; returns it, None for the package as it ships.

    Raises UsageError where there is nothing to go back to, StoreError where it cannot.
    """
    active, previous = paths.taught_head(state), _previous(state)
    with _complaints(active):
        try:
            empty = previous.stat().st_size == 0
        except FileNotFoundError:
            raise UsageError(
                f"{active.parent}: nothing to undo; no head was taught since the last --undo"
            ) from None
        if empty:
            active.unlink(missing_ok=True)
            previous.unlink()
            return None
        os.replace(previous, active)
    return Head.load(active)


def relearn(
    samples: Samples,
    classifier: Classifier,
    config: Config,
    taught_at: float,
    grounds: Mapping[str, Image | None] | None = None,
    tell: Callable[[str], None] = lambda words: None,
) -> Lesson:
    """A lesson from all the labelled pictures that are kept, of classes that have a route.

    classifier: with the head in force, if there is one. grounds: by id of a sample, its crop
    without the item. Raises as `lesson.learn`.
    """
    from bin_daemon.teaching.lesson import Shown, learn

    known = grounds or {}
    taught_before = classifier.head.taught_at if classifier.head else float("inf")

    def shown() -> Iterator[Shown]:
        for sample in samples.list(labelled=True):
            try:
                crop, label = samples.crop(sample.id), sample.label or ""
            except PictureError as error:
                log.warning("a kept picture is left out: %s", error)
                continue
            fresh = sample.taken_at > taught_before
            yield Shown(crop, label, sample.session, sample.item, known.get(sample.id), fresh)

    return learn(shown(), classifier, taught_at, tell, routed(config))


def routed(config: Config) -> frozenset[str]:
    """The classes that have a route."""
    return frozenset(label for route in config.routes.values() for label in route.takes)


def head_for(
    classifier: Classifier, config: Config, state: Path, *, keep: bool
) -> tuple[Head | None, str]:
    """The taught head to use with the network of `classifier`, and what the operator should know.

    A head of another network is learnt anew from the kept pictures, and holds if it is better than
    what the package ships, as at first. It knows no class without a route, and says so in the
    words: that is no reason to stop sorting. None with words where a head was taught and cannot be
    used: the package then says its own classes. keep: put a head that was learnt anew in force.
    """
    package = classifier.package
    try:
        head = Head.load(paths.taught_head(state))
    except ModelError as error:
        return None, f"the taught head is not used: {error}"
    if head is None or head.base == Base.of(package):
        return head, ""
    words = f"the bin was taught on {head.base.id}, and runs {package.id}"
    cure = "`bin-daemon teach` teaches it anew, `teach --undo` takes the old head away"
    log.info("%s; learning anew from the kept pictures", words)
    from bin_daemon.teaching.doubts import without
    from bin_daemon.teaching.samples import Samples

    try:
        with Samples(paths.teaching(state)) as samples:
            lesson = relearn(samples, classifier, config, time.time())
    except (BinDaemonError, OSError) as error:
        return None, f"{words}; it could not be taught anew: {error}. {cure}"
    if not lesson.better:
        return None, f"{words}, which is as good by itself on the kept pictures; {cure}"
    if keep:
        try:
            activate(state, lesson.head)
        except StoreError as error:
            log.warning("the head that was learnt anew is not kept: %s", error)
    log.info("learnt anew: %s", lesson.head.id)
    needs = lesson.figures["left_out"]
    lost = {label: need for label, need in needs.items() if label not in lesson.head.labels}
    if lost:
        return lesson.head, f"{words}, learnt anew; {'; '.join(without(lost))}; then teach again"
    return lesson.head, ""


def _previous(state: Path) -> Path:
    return paths.taught_head(state).with_suffix(".previous.npz")


def _owner(folder: Path) -> os.stat_result:
    """What a file in `folder` is like that its owner alone may read, also when root makes it."""
    status = folder.stat()
    return os.stat_result((0o600, 0, 0, 0, status.st_uid, status.st_gid, 0, 0, 0, 0))


@contextlib.contextmanager
def _complaints(path: Path) -> Iterator[None]:
    try:
        yield
    except BinDaemonError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path}: cannot change the taught head: {error.strerror}; check its owner and the disk"
        ) from error
