"""How fast the daemon is on this machine, and how much memory it takes.

A configuration flows in, figures flow out. Each is a ratio to something measured in the same run,
because machines differ and are noisy: stages to one bare `invoke()` of the runtime, start-up and
memory to an interpreter that merely imports what any such program needs. docs/benchmarks.md says
what each figure includes.
"""

from __future__ import annotations

import dataclasses
import itertools
import json
import os
import shutil
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from bin_daemon import __version__
from bin_daemon.config.sections import Config
from bin_daemon.core import paths
from bin_daemon.core.errors import BinDaemonError

if TYPE_CHECKING:
    from bin_daemon.model.classifier import Classifier
    from bin_daemon.model.package import Package

_START_DEADLINE_S = 30.0
_SOAK_DEADLINE_S = 540.0

# The bounds that docs/benchmarks.md promises on a quiet machine with ai-edge-litert.
BOUNDS = {
    "classify_over_invoke": 1.15,
    "idle_over_invoke": 0.6,
    "look_over_invoke": 2.0,
    "start_over_import": 2.0,
    "rss_over_import_mb": 60.0,
    "rss_growth_mb": 2.0,
}


def run(
    config: Config, quick: bool = False, progress: Callable[[str], None] = lambda words: None
) -> dict[str, Any]:
    """Measure everything; returns one flat object.

    quick: a tenth of the repetitions, to see that it works; its figures mean little. progress: is
    called with what is being measured.
    Raises BinDaemonError where a part does not work.
    """
    progress("measuring the stages of a cycle")
    figures = {"version": __version__, **_stages(config, 30 if quick else 300)}
    progress("measuring the start")
    figures |= _start(config, 2 if quick else 15)
    progress("measuring memory over many items")
    figures |= _memory(config, (10, 100) if quick else (100, 1000))
    return figures


def report(figures: dict[str, Any]) -> str:
    """The figures for people: bounds beside what was found."""
    lines = [
        f"bin-daemon {figures['version']} on {figures['runtime']}, {figures['threads']} thread"
    ]
    for name, bound in BOUNDS.items():
        found = figures[name]
        verdict = "ok" if found <= bound else "over"
        lines.append(f"  {name:<22} {found:8.2f}   at most {bound:g}   {verdict}")
    lines.append(f"  {'invoke_ms':<22} {figures['invoke_ms']:8.2f}")
    lines += [f"  {'cycle_ms.' + k:<22} {v:8.3f}" for k, v in figures["cycle_ms"].items()]
    return "\n".join(lines)


def _stages(config: Config, rounds: int) -> dict[str, Any]:
    """The median time of each stage, and its ratio to the bare invoke."""
    import cv2

    from bin_daemon.model.classifier import Classifier
    from bin_daemon.model.package import open_package

    cv2.setNumThreads(1)
    package = open_package(config.model.name)
    classifier = Classifier(package, config.model.runtime, config.model.threads)
    median = _medians(_steps(config, package, classifier), rounds)
    invoke = median.pop("invoke")
    return {
        "runtime": classifier.runtime,
        "threads": config.model.threads,
        "invoke_ms": round(invoke, 4),
        "classify_over_invoke": round(median["classify"] / invoke, 3),
        "idle_over_invoke": round(median["observe_idle"] / invoke, 3),
        "look_over_invoke": round(median["look"] / invoke, 3),
        "cycle_ms": {name: round(ms, 4) for name, ms in median.items()},
    }


def _medians(steps: dict[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """Milliseconds of each step; they take turns, so that a slow moment hits all alike."""
    spent: dict[str, list[float]] = {name: [] for name in steps}
    for _ in range(rounds + 20):  # the first 20 warm up
        for name, step in steps.items():
            before = time.perf_counter()
            step()
            spent[name].append((time.perf_counter() - before) * 1e3)
    return {name: statistics.median(times[20:]) for name, times in spent.items()}


def _steps(
    config: Config, package: Package, classifier: Classifier
) -> dict[str, Callable[[], object]]:
    """What is timed, each on noisy frames of the reel."""
    from bin_daemon.chamber.chamber import Chamber
    from bin_daemon.core.images import prepare, read_picture
    from bin_daemon.core.messages import Frame, Readings, View
    from bin_daemon.sorting.decision import decide
    from bin_daemon.sorting.policy import policy_of

    noise = np.random.default_rng(1)

    def frames(picture: Path, start: int) -> Iterator[Frame]:
        """Ten a second without end, with eight patterns of noise in turn."""
        image = read_picture(picture)
        grains = noise.normal(0, 2, (8, *image.shape))
        noisy = (image + grains).clip(0, 255).astype(np.uint8)
        return (Frame(noisy[n % 8], n * 0.1, n) for n in itertools.count(start))

    metal = min((paths.reel() / "items").glob("metal_*.jpg"), default=None)
    if metal is None:
        raise BinDaemonError(f"{paths.reel()}: the reel is not installed; bench needs its pictures")
    idle, settled = Chamber(config.chamber), Chamber(config.chamber)
    empties, stills = frames(paths.reel() / "empty.jpg", 0), frames(metal, 40)
    for frame in itertools.islice(empties, 40):
        idle.observe(frame)
        settled.observe(frame)
    for frame in itertools.islice(stills, 40):
        seen = settled.observe(frame)
    if seen.view is not View.ITEM or seen.item is None:
        raise BinDaemonError(f"bench: the reel's item is seen as {seen.view}; is the reel whole?")
    crop = seen.item.crop
    # The sizes that crops have: as the chamber cuts them, and up to a whole frame.
    crops = itertools.cycle([*(prepare(crop, s, s) for s in (160, 224, 320, 480)), crop])
    looks = [classifier.classify(crop) for _ in range(config.decision.looks)]
    policy = policy_of(config, package)

    def look() -> None:
        item = settled.observe(next(stills)).item
        assert item is not None
        classifier.classify(item.crop)

    return {
        "invoke": classifier.invoke,
        "classify": lambda: classifier.classify(next(crops)),
        "observe_idle": lambda: idle.observe(next(empties)),
        "look": look,
        "decide": lambda: decide(looks, policy, Readings()),
    }


def _bench_config(config: Config, source: Path, state: Path) -> Path:
    """The configuration of a daemon to be measured: a replayed scene, mock pins, no broker."""
    raw = dataclasses.asdict(config)
    raw["camera"] = {"kind": "replay", "source": source, "loop": True}
    raw["chute"] |= {"pins": "mock", "homing": "manual"}
    del raw["mqtt"]
    path = state / "bench.yaml"
    path.write_text(json.dumps(raw, default=str))
    return path


def _scene(folder: Path) -> Path:
    """A script with little to decode and no noise: the daemon is measured, not the replay."""
    empty = str(paths.reel() / "empty.jpg")
    steps: list[dict[str, Any]] = [{"empty": empty, "frames": 15}]
    for item in sorted((paths.reel() / "items").glob("*.jpg"))[:6]:
        steps += [{"hold": str(item), "frames": 10}, {"empty": empty, "frames": 4}]
    path = folder / "scene.yaml"
    path.write_text(json.dumps({"fps": 10, "size": [640, 480], "steps": steps}))
    return path


def _start(config: Config, rounds: int) -> dict[str, float]:
    """Process start to READY=1, over the bare imports, in turn."""
    with tempfile.TemporaryDirectory(prefix="bin-daemon-bench-") as name:
        folder = Path(name)
        stills = folder / "stills"
        stills.mkdir()
        shutil.copy(paths.reel() / "empty.jpg", stills)
        path = _bench_config(config, stills, folder)
        _ready_s(path, folder, linger_s=3.0)  # learns and saves the reference, warms the page cache
        code, ready, imports = _imports(), [], []
        for _ in range(rounds):
            before = time.perf_counter()
            _output(code)
            imports.append(time.perf_counter() - before)
            ready.append(_ready_s(path, folder))
    pairs = [start / bare for start, bare in zip(ready, imports, strict=True)]
    return {
        "start_s": round(statistics.median(ready), 4),
        "import_s": round(statistics.median(imports), 4),
        "start_over_import": round(statistics.median(pairs), 3),
    }


def _imports() -> str:
    """What any program that takes pictures and runs a network imports, as code."""
    from bin_daemon.model.runtime import RUNTIMES, installed_runtimes

    return f"import numpy, cv2, {RUNTIMES[installed_runtimes()[0]]}"


def _ready_s(config: Path, state: Path, linger_s: float = 0.0) -> float:
    """Seconds from starting `bin-daemon run` to its READY=1, on a real notify socket."""
    address = state / "notify"
    address.unlink(missing_ok=True)
    # What the installed program does; `-m` would add the time of runpy.
    program = "import sys; from bin_daemon.cli import main; sys.exit(main())"
    command = [sys.executable, "-P", "-c", program, "run", "--log-level", "error"]
    command += ["--config", str(config), "--state", str(state)]
    environment = {**os.environ, "NOTIFY_SOCKET": str(address)}
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(address))
        manager.settimeout(_START_DEADLINE_S)
        before = time.perf_counter()
        with subprocess.Popen(command, env=environment, stderr=subprocess.PIPE) as daemon:
            try:
                manager.recv(256)
                spent = time.perf_counter() - before
                time.sleep(linger_s)
            except TimeoutError as error:
                daemon.kill()
                said = daemon.communicate()[1].decode()
                raise BinDaemonError(f"bench: the daemon does not become ready: {said}") from error
            finally:
                daemon.terminate()
                daemon.communicate()
    return spent


def _memory(config: Config, marks: tuple[int, int]) -> dict[str, float]:
    """Resident memory of a daemon after so many items, over the bare imports."""
    with tempfile.TemporaryDirectory(prefix="bin-daemon-bench-") as name:
        path = _bench_config(config, _scene(Path(name)), Path(name))
        first, last = json.loads(
            _output(f"from {__name__} import soak; soak({str(path)!r}, {name!r}, {marks})")
        )
        measure = f"from {__name__} import resident_mb; print(resident_mb())"
        base = json.loads(_output(f"{_imports()}\n{measure}"))
    return {
        "rss_mb": round(last, 2),
        "rss_import_mb": round(base, 2),
        "rss_over_import_mb": round(last - base, 2),
        "rss_growth_mb": round(last - first, 2),
        "rss_items": marks[1],
    }


def _output(code: str) -> str:
    """What a Python process of its own prints."""
    command = [sys.executable, "-P", "-c", code]
    done = subprocess.run(
        command, check=False, capture_output=True, text=True, timeout=_SOAK_DEADLINE_S
    )
    if done.returncode:
        raise BinDaemonError(f"bench: a measured process failed: {done.stderr.strip()}")
    return done.stdout


def soak(config: str, state: str, marks: tuple[int, int]) -> None:
    """Sort until the last of `marks` on a simulated clock; print the memory in MB at each as JSON.

    config, state: as of `bin-daemon run`. marks: numbers of items.
    """
    from bin_daemon.config.load import load_config
    from bin_daemon.core.clock import SimulatedClock
    from bin_daemon.daemon.app import App

    found: list[float] = []

    class Counting(SimulatedClock):
        """Measures, whenever time passes, as the marks are reached."""

        def sleep(self, seconds: float) -> None:
            super().sleep(seconds)
            items = app.bin.cycle.counts.total() if app.bin else 0
            if len(found) < len(marks) and items >= marks[len(found)]:
                found.append(resident_mb())
            if len(found) == len(marks):
                app.stop()

    app = App(load_config(config), Path(state), Counting())
    app.run()
    sys.stdout.write(json.dumps(found))


def resident_mb() -> float:
    """Resident memory of this process in megabytes (10^6 bytes)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE") / 1e6
