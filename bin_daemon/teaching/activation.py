"""Which head is in use: activated, taken back, and carried over to another network.

A state directory and a classifier flow in, the head to use and words on it flow out. A head is
changed in single steps of the file system, so that a kill at any moment leaves the former one or
the new one.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import logging
import os
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from bin_daemon import __version__
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.errors import BinDaemonError, ModelError, PictureError, StoreError, UsageError
from bin_daemon.core.files import write_whole
from bin_daemon.core.messages import Vector
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head
from bin_daemon.model.package import Package

if TYPE_CHECKING:
    from bin_daemon.teaching.sample_store import Samples
    from bin_daemon.teaching.training import Progress, TrainingExample, TrainingResult

log = logging.getLogger(__name__)


def activate(state: Path, head: Head) -> None:
    """Activate `head`; `undo` brings the former one back. Raises StoreError."""
    active = paths.taught_head(state)
    with _translated_errors(active):
        # Where there is none, an empty file: nothing to go back to but the package as it ships.
        former = active.read_bytes() if active.exists() else b""
        like = _owner(active.parent)
        write_whole(_previous(state), former, like=like)
        head.save(active, like)


def undo(
    state: Path, base: Base, check: Callable[[Head], object] = lambda head: None
) -> Head | None:
    """Go back to the head before; returns it, None for the package as it ships.

    A head before that cannot be used with `base`, the network of the bin, or is damaged, is none.
    check: raises where the bin could not start with a head; then nothing is changed.
    Raises UsageError where there is nothing to go back from, StoreError where it cannot.
    """
    active, previous = paths.taught_head(state), _previous(state)
    with _translated_errors(active):
        former = None
        with contextlib.suppress(ModelError):
            former = Head.load(previous)
        if former is not None and former.base == base:
            check(former)
            previous.replace(active)
            return former
        if not active.exists():
            raise UsageError(f"{active.parent}: nothing to undo; the package is in use as it ships")
        # This one first: what is left by a kill is undone by the next try.
        previous.unlink(missing_ok=True)
        active.unlink()
    return None


def retrain(
    samples: Samples,
    classifier: Classifier,
    config: Config,
    grounds: Mapping[str, Vector],
    progress: Progress,
    *,
    keep: bool = True,
    known: Iterable[str] = (),
) -> TrainingResult:
    """Train a head on all the labelled pictures that are kept, of classes that have a route.

    The network runs on those alone that it has not seen yet.

    grounds: by id of a sample, the embedding of its crop with the item painted out. keep: whether
    to store embeddings that were missing, for the next time. known: as for `training.train`, where
    no head is in use; that says the rest, and what is raised.
    """
    from bin_daemon.teaching.training import TrainingExample, train

    network = Base.of(classifier.package).sha256
    taught_before = classifier.head.taught_at if classifier.head else float("inf")
    listed = samples.list(labelled=True)

    def examples() -> Iterator[TrainingExample]:
        renewed: dict[str, Vector] = {}
        for number, sample in enumerate(listed, start=1):
            embedding = sample.embedding
            if sample.network != network:
                progress(f"looking at picture {number} of {len(listed)}")
                try:
                    embedding = classifier.classify(samples.crop(sample.id)).embedding
                except PictureError as error:
                    log.warning("a kept picture is left out: %s", error)
                    continue
                renewed[sample.id] = embedding
            fresh = sample.taken_at > taught_before
            ground = grounds.get(sample.id)
            label = sample.label or ""
            yield TrainingExample(embedding, label, sample.session, sample.item, ground, fresh)
        if keep and renewed:
            try:
                samples.renew(network, renewed)
            except StoreError as error:
                log.warning("what was seen on the kept pictures has to be seen again: %s", error)

    known = classifier.head.labels if classifier.head else known
    return train(examples(), classifier, time.time(), progress, config.route_of, known)


def head_for(
    classifier: Classifier,
    config: Config,
    state: Path,
    *,
    keep: bool,
    progress: Progress = lambda words: None,
) -> tuple[Head | None, str]:
    """The taught head to use with the network of `classifier`, and what the operator should know.

    A head of another network is trained anew on the kept pictures, and holds if it is better than
    what the package ships, as at first. It knows no class without a route, and says so in the
    words: that is no reason to stop sorting. None with words where a head was taught and cannot be
    used: the package then says its own classes.

    keep: whether to store what comes of it, so that it is trained once: a better head is put in
    force, and for another one it is noted that it was none.
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
    try:
        result = _carried_over(head, classifier, config, state, keep, progress)
    except (BinDaemonError, OSError) as error:
        return None, f"{words}; it could not be taught anew: {error}. {cure}"
    if result is None or not result.better:
        lost = [label for label in head.labels if label not in package.labels]
        but = f" but knows no {', '.join(lost)}" if lost else ""
        return None, f"{words}, which is as good by itself on the kept pictures{but}; {cure}"
    head = result.head
    log.info("learnt anew: %s", head.id)
    needed = {n: need for n, need in result.figures["left_out"].items() if n not in head.labels}
    if not needed:
        return head, ""
    from bin_daemon.teaching.advice import in_words

    return head, f"{words}, learnt anew; {'; '.join(in_words(needed))}; then teach again"


def _carried_over(
    head: Head, classifier: Classifier, config: Config, state: Path, keep: bool, progress: Progress
) -> TrainingResult | None:
    """A training for another network; None where it is known that nothing better comes of it.

    What `undo` goes back to stays.
    """
    from bin_daemon.teaching.sample_store import Samples

    folder = paths.teaching(state)
    fruitless = folder / "fruitless"  # holds the question of which nothing better came
    with Samples(folder) as samples:
        question = _question(samples, classifier.package, config)
        with contextlib.suppress(OSError):
            if fruitless.read_bytes() == question:
                return None
        log.info("taught on %s: it learns anew from the kept pictures first", head.base.id)
        known = head.labels
        result = retrain(samples, classifier, config, {}, progress, keep=keep, known=known)
    if keep:
        try:
            if result.better:
                result.head.save(paths.taught_head(state), _owner(folder))
            else:
                write_whole(fruitless, question, like=_owner(folder))
        except OSError as error:
            log.warning("what was learnt anew is not kept, and will be learnt again: %s", error)
    return result


def _question(samples: Samples, package: Package, config: Config) -> bytes:
    """Changes whenever learning anew for this network might come out differently."""
    pictures = [(sample.id, sample.label) for sample in samples.list(labelled=True)]
    asked = [__version__, Base.of(package).sha256, sorted(config.route_of), pictures]
    return hashlib.sha256(json.dumps(asked).encode()).hexdigest().encode()


def _previous(state: Path) -> Path:
    return paths.taught_head(state).with_suffix(".previous.npz")


def _owner(folder: Path) -> os.stat_result:
    """What a file in `folder` is like that its owner alone may read, also when root makes it."""
    status = folder.stat()
    return os.stat_result((0o600, 0, 0, 0, status.st_uid, status.st_gid, 0, 0, 0, 0))


@contextlib.contextmanager
def _translated_errors(path: Path) -> Iterator[None]:
    try:
        yield
    except BinDaemonError:
        raise
    except OSError as error:
        raise StoreError(
            f"{path}: cannot change the taught head: {error.strerror}; check its owner and the disk"
        ) from error
