"""What teaching is worth on the pictures of real chambers: `python -m export.teach_figures`.

Pictures are laid out as a person would (a folder for each class, `sessions.csv`), `bin-daemon
teach --from` teaches a fresh state directory, and the head it puts in force is judged on the
pictures that were not taught, cut out as a bin does. Nothing is tuned by what comes out.
"""

from __future__ import annotations

import argparse
import contextlib
import csv
import io
import json
import sys
import tempfile
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from bin_daemon import paths
from bin_daemon.calibration import accepted, probabilities
from bin_daemon.chamber import isolate
from bin_daemon.classifier import Classifier
from bin_daemon.model_store import open_package
from bin_daemon.pictures import read_picture
from bin_daemon.teaching.head import Base, Head
from bin_daemon.teaching.shipped import shipped_head

from .chambers import median_view
from .errors import ExportError

DATA = Path("../shared/data")
SHOWN = 10
DRAWS = 5
CANS, BOTTLES = ("20180419_1", "20180423_11"), ("20180419_3", "20180423_4")


@dataclass(frozen=True, slots=True)
class Photo:
    """One picture of a chamber: its file, session, item and class."""

    path: Path
    session: str
    item: str
    label: str


def photos(folder: Path, empties: Path) -> tuple[list[Photo], dict[str, Path]]:
    """The plain pictures of a chamber (no hand, no open lid), and each session's empty view.

    A session without an empty picture gets the median of its pictures, written to `empties`.
    """
    table = folder / "labels.csv"
    if not table.is_file():
        raise ExportError(f"{table}: no such file; --data must name the folder with the chambers")
    found: list[Photo] = []
    views: dict[str, Path] = {}
    with table.open(newline="", encoding="utf-8") as file:
        for row in csv.DictReader(file):
            path, session = folder / row["file"], row["file"].split("/")[0]
            if row["class"] == "empty":
                views.setdefault(session, path)
            elif not row.get("flag"):
                found.append(Photo(path, session, row.get("item") or row["class"], row["class"]))
    members = defaultdict(list)
    for one in found:
        members[one.session].append(one.path)
    for session, files in members.items():
        if session not in views:
            view = median_view([read_picture(path) for path in files])
            views[session] = empties / f"{folder.name}-{session}.png"
            cv2.imwrite(str(views[session]), view[..., ::-1])
    return found, views


def command(*words: object) -> str:
    """What `bin-daemon` prints; raises ExportError where it fails."""
    from bin_daemon.cli import main

    out, err = io.StringIO(), io.StringIO()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        code = main([str(word) for word in words])
    if code:
        raise ExportError(f"bin-daemon {words[0]}: exit code {code}: {err.getvalue()}")
    return out.getvalue()


class Eyes:
    """Embeddings of pictures as a bin sees them: cut out by the empty view, each looked at once."""

    def __init__(self, model: str, views: Mapping[str, Path]) -> None:
        self._classifier = Classifier(open_package(model))
        self._views = {session: read_picture(path) for session, path in views.items()}
        self._seen: dict[Path, np.ndarray] = {}

    def embeddings(self, photos: Sequence[Photo]) -> np.ndarray:
        """Float32 (n, d); a picture in which no item is found is looked at whole."""
        return np.stack([self._embedding(one) for one in photos])

    def shipped(self) -> Head:
        """What the bin goes by while no head is in force."""
        package = self._classifier.package
        kernel, bias = shipped_head(self._classifier)
        length = float(np.median([np.linalg.norm(e) for e in self._seen.values()]))
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

    def _embedding(self, one: Photo) -> np.ndarray:
        if one.path not in self._seen:
            image = read_picture(one.path)
            item = isolate(image, self._views[one.session])
            crop = image if item is None else item.crop
            self._seen[one.path] = self._classifier.classify(crop).embedding
        return self._seen[one.path]


def judge(
    taught: Sequence[Photo],
    tested: Sequence[Photo],
    views: Mapping[str, Path],
    eyes: Eyes,
    by: str,
    common: Sequence[str],
) -> dict[str, object]:
    """Teach a fresh bin with some pictures and judge it on others; by: "label" or "item"."""
    with tempfile.TemporaryDirectory() as made:
        root = Path(made)
        lesson, state = root / "lesson", root / "state"
        rows = []
        for number, one in enumerate(taught):
            target = lesson / getattr(one, by) / f"{number}{one.path.suffix}"
            target.parent.mkdir(parents=True, exist_ok=True)
            target.symlink_to(one.path.resolve())
            file = target.relative_to(lesson).as_posix()
            rows.append((file, views[one.session].resolve(), one.session))
        with (lesson / "sessions.csv").open("w", newline="", encoding="utf-8") as file:
            csv.writer(file).writerows([("file", "empty", "session"), *rows])
        told = json.loads(command("teach", "--from", lesson, "--json", "--state", state, *common))
        head = Head.load(paths.taught_head(state)) or eyes.shipped()
    truth = np.array([head.labels.index(getattr(one, by)) for one in tested])
    likely = probabilities(head.logits(eyes.embeddings(tested)), head.temperature)
    thresholds = np.array([head.thresholds[label] for label in head.labels])
    passed, right = accepted(likely, truth, thresholds)
    recall = {head.labels[at]: float(right[truth == at].mean()) for at in np.unique(truth)}
    return {
        "activated": told["activated"],
        "accuracy": float(right.mean()),
        "macro_recall": float(np.mean(list(recall.values()))),
        "recall": recall,
        "accepted": float(passed.mean()),
        "accepted_right": float(right[passed].mean()) if passed.any() else None,
        "promised": told["after"]["accuracy"],
        "promised_se": told["after"]["accuracy_se"],
        "before": told["before"]["accuracy"],
        **{key: told[key] for key in ("unseen_session", "control", "strength", "seconds")},
    }


def draw(found: Sequence[Photo], seed: int) -> tuple[list[Photo], list[Photo]]:
    """SHOWN pictures of each session for teaching, and the rest."""
    rng = np.random.default_rng(seed)
    members = defaultdict(list)
    for one in found:
        members[one.session].append(one)
    chosen = {
        mine[at].path for mine in members.values() for at in rng.permutation(len(mine))[:SHOWN]
    }
    return [p for p in found if p.path in chosen], [p for p in found if p.path not in chosen]


def main(arguments: Sequence[str] | None = None) -> int:
    """Run all and print one object with all figures."""
    parser = argparse.ArgumentParser(prog="python -m export.teach_figures", description=__doc__)
    parser.add_argument("--data", type=Path, default=DATA)
    parser.add_argument("--model", default="waste6", help="model package, by name or path")
    parser.add_argument("--chamber", action="append", choices=["chamber_a", "chamber_b"])
    parser.add_argument("--draws", type=int, default=DRAWS)
    options = parser.parse_args(arguments)
    with tempfile.TemporaryDirectory() as made:
        common = ("--model", options.model, "--config", _config(Path(made)))
        for chamber in options.chamber or ("chamber_a", "chamber_b"):
            found, views = photos(options.data / chamber, Path(made))
            eyes = Eyes(options.model, views)
            for by in ("label", "item") if chamber == "chamber_a" else ("label",):
                runs = [
                    judge(*draw(found, seed), views, eyes, by, common)
                    for seed in range(options.draws)
                ]
                _tell(f"{chamber}, {SHOWN} of each session, by {by}", runs)
            _tell(f"{chamber}, sessions never taught", list(_unseen(found, views, eyes, common)))
    return 0


def _unseen(
    found: Sequence[Photo], views: Mapping[str, Path], eyes: Eyes, common: Sequence[str]
) -> Iterator[dict[str, object]]:
    """Teach some sessions whole, and test on the others.

    chamber_a: one session of cans and one of bottles with all cups. chamber_b: its folders of two
    of the three arrangements.
    """
    sessions = {one.session for one in found}
    if set(CANS) <= sessions:
        for cans in CANS:
            for bottles in BOTTLES:
                held = {*CANS, *BOTTLES} - {cans, bottles}
                yield _apart(found, held, views, eyes, common)
    else:
        for ending in ("NoLid", "NoWindow", ""):
            held = {s for s in sessions if s in (f"metal{ending}", f"plastic{ending}")}
            yield _apart(found, held, views, eyes, common)


def _apart(
    found: Sequence[Photo],
    held: set[str],
    views: Mapping[str, Path],
    eyes: Eyes,
    common: Sequence[str],
) -> dict[str, object]:
    taught = [one for one in found if one.session not in held]
    tested = [one for one in found if one.session in held]
    return {"held": sorted(held), **judge(taught, tested, views, eyes, "label", common)}


def _config(folder: Path) -> str:
    """A bin that takes every class of both chambers; returns the file."""
    text = (paths.profiles() / "simulator.yaml").read_text(encoding="utf-8")
    new = "metal_can, plastic_bottle, plastic_cup, paper_cup"
    if "[trash" not in text:
        raise ExportError("simulator.yaml: its residual route no longer takes [trash]")
    path = folder / "config.yaml"
    path.write_text(text.replace("[trash", f"[{new}, trash"), encoding="utf-8")
    return str(path)


def _tell(words: str, runs: list[dict[str, object]]) -> None:
    """One line of JSON for each run, and one of their means."""
    for run in runs:
        print(json.dumps({"what": words, **run}))
    figures = ("accuracy", "macro_recall", "accepted", "accepted_right", "promised", "before")
    means = {
        f: [round(float(s), 4) for s in (np.mean(values), np.std(values))]
        for f in figures
        if (values := [run[f] for run in runs if run[f] is not None])
    }
    print(json.dumps({"what": f"{words}: mean and spread of {len(runs)}", **means}), flush=True)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except ExportError as error:
        print(f"export: {error}", file=sys.stderr)
        sys.exit(2)
