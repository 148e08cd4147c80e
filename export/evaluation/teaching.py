"""What teaching is worth on the pictures of real chambers: the step `teach-figures`.

`bin-daemon teach --from` teaches a fresh state directory, and the head it activates is judged on
pictures that were not taught, cut out as a bin does. On sessions that were never taught there is a
control: a head taught on the same pictures with their items painted out, judged on such ones.
"""

from __future__ import annotations

import contextlib
import io
import itertools
import json
import tempfile
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bin_daemon.chamber.chamber import isolate
from bin_daemon.config.sections import ChamberSection
from bin_daemon.core import paths
from bin_daemon.core.images import median_empty, read_picture
from bin_daemon.core.messages import Array
from bin_daemon.core.softmax import softmax
from bin_daemon.model.calibration import accepted
from bin_daemon.model.classifier import Classifier
from bin_daemon.model.head import Base, Head
from bin_daemon.model.package import open_package
from bin_daemon.teaching.folder import painted_out
from bin_daemon.teaching.training import TrainingExample, train
from export.data.csv_tables import write_table
from export.data.pictures import save_picture
from export.errors import ExportError
from export.evaluation.chambers import ChamberPicture, by_session, read_chamber

TAUGHT = 10  # pictures of each session
CANS, BOTTLES = ("20180419_1", "20180423_11"), ("20180419_3", "20180423_4")
"""Sessions of chamber_a that show one class each."""
_AVERAGED = (
    "accuracy", "macro_recall", "accepted", "accepted_right", "promised", "before",
    "ground_accuracy", "ground_majority",
)  # fmt: skip


Frames = Sequence[ChamberPicture]
Words = Sequence[str]


def measure_teaching(chambers: Sequence[Path], model: str, draws: int) -> Iterator[dict[str, Any]]:
    """What was done and its figures, of one teaching after the other, and means with deviations.

    `chambers` are folders with `labels.csv`; `draws` is how many choices of the pictures to teach.
    Raises ExportError where a table cannot be read, or the bin does not learn.
    """
    with tempfile.TemporaryDirectory() as made:
        common = ("--model", model, "--config", _config(Path(made)))
        for chamber in chambers:
            frames, views = frames_and_views(chamber, Path(made))
            embedder = Embedder(model, views)
            both = set(CANS) <= views.keys()
            for by in ("label", "thing") if both else ("label",):
                drawn = (draw(frames, seed) for seed in range(draws))
                runs = [embedder.judge(*parts, by, common) for parts in drawn]
                yield from _summed_up(f"{chamber.name}, {TAUGHT} of each session, by {by}", runs)
            runs = list(_unseen(frames, embedder, common))
            yield from _summed_up(f"{chamber.name}, sessions never taught", runs)


def frames_and_views(folder: Path, empties: Path) -> tuple[list[ChamberPicture], dict[str, Path]]:
    """The frames of a chamber (no hand, no open lid), and each session's empty view.

    A session without an empty picture gets the median of its pictures, written to `empties`.
    """
    frames, views = read_chamber(folder)
    for session, members in by_session(frames).items():
        if session not in views:
            views[session] = empties / f"{folder.name}-{session}.png"
            save_picture(views[session], median_empty([frame.path for frame in members]))
    return frames, views


def command(*words: object) -> str:
    """What `bin-daemon` prints; raises ExportError where it fails."""
    from bin_daemon.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    if code:
        raise ExportError(f"bin-daemon {words[0]}: exit code {code}: {err.getvalue()}")
    return out.getvalue()


class Embedder:
    """Judges teaching on frames cut out by the empty view, each of them embedded once."""

    def __init__(self, model: str, views: Mapping[str, Path]) -> None:
        self._classifier = Classifier(open_package(model))
        self._paths = views
        self._views = {session: read_picture(path) for session, path in views.items()}
        self._seen: dict[Path, tuple[Array, Array | None]] = {}

    def judge(self, taught: Frames, tested: Frames, by: str, common: Words) -> dict[str, Any]:
        """Teach a fresh bin with some frames, by "label" or "thing", and judge it on others.

        The pictures are laid out as a person would: a folder for each class, `sessions.csv`.
        Of the figures, `accepted` is the share of pictures above their threshold, `accepted_right`
        how many of those are right; `promised` is the accuracy that the bin itself expected of the
        taught head, `promised_se` its standard error, `before` what it expected of the shipped one.
        """
        with tempfile.TemporaryDirectory() as made:
            folder, state = Path(made, "taught"), Path(made, "state")
            rows = []
            for number, frame in enumerate(taught):
                file = f"{getattr(frame, by)}/{number}{frame.path.suffix}"
                (folder / file).parent.mkdir(parents=True, exist_ok=True)
                (folder / file).symlink_to(frame.path.resolve())
                rows.append((file, str(self._paths[frame.session].resolve()), frame.session))
            write_table(folder / "sessions.csv", ("file", "empty", "session"), rows)
            told = command("teach", "--from", folder, "--json", "--state", state, *common)
            head, result = Head.load(paths.taught_head(state)) or self._shipped(), json.loads(told)
        truth = np.array([head.labels.index(getattr(one, by)) for one in tested])
        embeddings = np.stack([self._look(one)[0] for one in tested])
        likely = softmax(head.logits(embeddings), head.temperature)
        thresholds = np.array([head.thresholds[label] for label in head.labels])
        passed, right = accepted(likely, truth, thresholds)
        recall = {head.labels[at]: float(right[truth == at].mean()) for at in np.unique(truth)}
        return {
            "activated": result["activated"],
            "accuracy": float(right.mean()),
            "macro_recall": float(np.mean(list(recall.values()))),
            "recall": recall,
            "accepted": float(passed.mean()),
            "accepted_right": float(right[passed].mean()) if passed.any() else None,
            "promised": result["after"]["accuracy"],
            "promised_se": result["after"]["accuracy_se"],
            "before": result["before"]["accuracy"],
            **{key: result[key] for key in ("unseen_session", "control", "strength", "seconds")},
        }

    def control(self, taught: Frames, tested: Frames) -> dict[str, float]:
        """How well a head tells classes by the background: items are painted out for both parts.

        Returns its `accuracy`, and as `majority` that of always saying the commonest class.
        """
        head = train(self._painted_out(taught), self._classifier, 0.0).head
        grounds = self._painted_out(tested)
        truth = np.array([one.label for one in grounds])
        found = head.logits(np.stack([one.embedding for one in grounds])).argmax(axis=1)
        commonest = Counter(truth.tolist()).most_common(1)[0][1]
        accuracy = float(np.mean(np.array(head.labels)[found] == truth))
        return {"accuracy": accuracy, "majority": commonest / len(truth)}

    def _painted_out(self, frames: Frames) -> list[TrainingExample]:
        return [
            TrainingExample(ground, one.label, one.session, str(one.path))
            for one in frames
            if (ground := self._look(one)[1]) is not None
        ]

    def _shipped(self) -> Head:
        """What the bin goes by while no head is in use."""
        package = self._classifier.package
        kernel, bias = self._classifier.shipped_head()
        length = float(np.median([np.linalg.norm(e) for e, _ in self._seen.values()]))
        return Head(
            labels=package.labels,
            kernel=kernel * length,
            bias=bias,
            temperature=package.manifest.temperature,
            thresholds=package.manifest.thresholds,
            base=Base.of(package),
            taught_at=0.0,
            figures={},
        )

    def _look(self, one: ChamberPicture) -> tuple[Array, Array | None]:
        """The embedding of the item, and that of the same crop without it, where one is found."""
        if one.path not in self._seen:
            image, view = read_picture(one.path), self._views[one.session]
            crop, ground = image, None
            if item := isolate(image, view):
                out = painted_out(image, view, item, ChamberSection())
                crop, ground = item.crop, self._classifier.classify(out).embedding
            self._seen[one.path] = self._classifier.classify(crop).embedding, ground
        return self._seen[one.path]


def draw(frames: Frames, seed: int) -> tuple[list[ChamberPicture], list[ChamberPicture]]:
    """TAUGHT pictures of each session for teaching, and the rest."""
    rng = np.random.default_rng(seed)
    sessions = by_session(frames).values()
    chosen = {mine[at].path for mine in sessions for at in rng.permutation(len(mine))[:TAUGHT]}
    return [f for f in frames if f.path in chosen], [f for f in frames if f.path not in chosen]


def _unseen(frames: Frames, embedder: Embedder, common: Words) -> Iterator[dict[str, object]]:
    """Teach some sessions whole, and test on the others.

    chamber_a: one session of cans and one of bottles with all cups. chamber_b: two of the three
    arrangements, without a control: its things lie alike in all frames, so the median that stands
    for the empty view shows them too, and nothing paints them out. `ground_accuracy` and
    `ground_majority` are the figures of the control.
    """
    sessions = {one.session for one in frames}
    with_control = set(CANS) <= sessions
    if with_control:
        parted = [{*CANS, *BOTTLES} - {*two} for two in itertools.product(CANS, BOTTLES)]
    else:
        parted = [sessions & {f"metal{end}", f"plastic{end}"} for end in ("NoLid", "NoWindow", "")]
    for held in parted:
        taught = [frame for frame in frames if frame.session not in held]
        tested = [frame for frame in frames if frame.session in held]
        result = embedder.judge(taught, tested, "label", common)
        if with_control:
            control = embedder.control(taught, tested)
            result |= {f"ground_{name}": value for name, value in control.items()}
        yield {"held": sorted(held), **result}


def _config(folder: Path) -> str:
    """A bin that takes every class of both chambers; returns the file."""
    text = (paths.profiles() / "simulator.yaml").read_text(encoding="utf-8")
    if "[trash" not in text:
        raise ExportError("simulator.yaml: its residual route no longer takes [trash]")
    new = "[metal_can, plastic_bottle, plastic_cup, paper_cup, trash"
    path = folder / "config.yaml"
    path.write_text(text.replace("[trash", new), encoding="utf-8")
    return str(path)


def _summed_up(what: str, runs: Sequence[Mapping[str, Any]]) -> Iterator[dict[str, Any]]:
    """The figures of each teaching, and last their means and standard deviations."""
    yield from ({"what": what, **run} for run in runs)
    found = {key: [run[key] for run in runs if run.get(key) is not None] for key in _AVERAGED}
    for key in ("accuracy", "majority"):
        found[f"control_{key}"] = [run["control"][key] for run in runs if run["control"]]
    means = {
        key: [round(float(np.mean(values)), 4), round(float(np.std(values)), 4)]
        for key, values in found.items()
        if values
    }
    yield {"what": f"{what}: mean and spread of {len(runs)}", **means}
