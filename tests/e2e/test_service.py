"""The daemon as systemd runs it: ready, watchdog, stopping in every state, failures, silence.

The manager here is a real notify socket. A camera that can stall is a web stream of the test's own.
"""

from __future__ import annotations

import contextlib
import http.server
import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import pytest
import yaml
from blackbox import free_port
from mqtt_parts import Ear
from scenes import chamber, raw_config, write_script
from waiting import wait_until

from bin_daemon.core import paths
from bin_daemon.core.clock import SystemClock
from bin_daemon.daemon.failures import LIMIT, Failures
from bin_daemon.store.history import History

STOP_S = 5.0
EMPTY = {"empty": "empty.png", "frames": 3000}


class Service:
    """`bin-daemon run` under a manager: what it tells, and how it ends."""

    def __init__(self, folder: Path, raw: dict[str, Any], **environment: str) -> None:
        self.state = folder / "state"
        self.told: list[str] = []
        (folder / "bin.yaml").write_text(yaml.safe_dump(raw))
        address = folder / "notify"
        address.unlink(missing_ok=True)
        self._manager = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._manager.bind(os.fspath(address))
        self._manager.setblocking(False)
        command = [sys.executable, "-m", "bin_daemon", "run", "--config", str(folder / "bin.yaml")]
        self._errors = (folder / "stderr").open("a+")
        self.process = subprocess.Popen(
            [*command, "--state", str(self.state)],
            stderr=self._errors,
            env={**os.environ, "NOTIFY_SOCKET": str(address), **environment},
        )

    def heard(self) -> list[str]:
        """All lines so far."""
        with contextlib.suppress(BlockingIOError):
            while True:
                self.told += self._manager.recv(4096).decode().split("\n")
        return self.told

    def await_word(self, word: str, timeout_s: float = 30.0) -> None:
        """Wait until a line begins so."""
        wait_until(lambda: any(line.startswith(word) for line in self.heard()), word, timeout_s)

    def stop(self, times: int = 1) -> float:
        """SIGTERM, so often; returns how many seconds it then took to end, cleanly."""
        before = time.monotonic()
        for _ in range(times):
            self.process.send_signal(signal.SIGTERM)
            time.sleep(0.05)
        assert self.process.wait(20) == 0, self.errors()
        return time.monotonic() - before

    def errors(self) -> str:
        """What it has written to standard error."""
        self._errors.seek(0)
        return self._errors.read()

    def close(self) -> None:
        """End it in any case."""
        self.process.kill()
        self.process.wait()
        self._manager.close()
        self._errors.close()


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services on the folder of the test, one after the other."""
    made: list[Service] = []

    def make(raw: dict[str, Any], **environment: str) -> Service:
        made.append(Service(tmp_path, raw, **environment))
        return made[-1]

    yield make
    for service in made:
        service.close()


class Stream:
    """A web camera (MJPEG over HTTP) that stalls when it is told to."""

    def __init__(self) -> None:
        self.flowing = threading.Event()
        self.flowing.set()
        self.closed = False
        picture = cv2.cvtColor(chamber(), cv2.COLOR_RGB2BGR)
        jpeg = cv2.imencode(".jpg", picture)[1].tobytes()
        part = b"--f\r\nContent-Type: image/jpeg\r\nContent-Length: %d\r\n\r\n" % len(jpeg)
        stream = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                self.send_response(200)
                self.send_header("Content-Type", "multipart/x-mixed-replace; boundary=f")
                self.end_headers()
                with contextlib.suppress(OSError):
                    while not stream.closed:
                        if stream.flowing.wait(0.1):
                            self.wfile.write(part + jpeg + b"\r\n")
                            time.sleep(0.03)

            def log_message(self, *_: object) -> None:
                pass

        self._server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, daemon=True).start()
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}/"

    def close(self) -> None:
        self.closed = True
        self._server.shutdown()
        self._server.server_close()


@pytest.fixture
def stream() -> Iterator[Stream]:
    made = Stream()
    yield made
    made.close()


def filmed(stream: Stream, **camera: Any) -> dict[str, Any]:
    """A bin that looks at the stream."""
    raw = raw_config(Path("unused"))
    raw["camera"] = {"kind": "opencv", "source": stream.address, **camera}
    return raw


def scene(tmp_path: Path, **sections: Any) -> dict[str, Any]:
    """A bin that looks at an empty chamber for some minutes."""
    return raw_config(write_script(tmp_path, EMPTY), **sections)


def kept(tmp_path: Path) -> dict[str, Any]:
    return json.loads((tmp_path / "state" / "failures.json").read_text())


def failed(state: Path, times: int = LIMIT) -> None:
    state.mkdir(exist_ok=True)
    failures = Failures(state, SystemClock())
    failures.begin()
    for _ in range(times):
        failures.end(RuntimeError("there is no camera"))


def test_the_watchdog_is_fed_while_frames_come_and_not_by_a_process_that_hangs(serve, tmp_path):
    service = serve(scene(tmp_path), WATCHDOG_USEC="30000000")
    service.await_word("READY=1")
    service.await_word("WATCHDOG=1")
    # Fed by the main loop alone, at most every quarter of 30 s.
    count = service.heard().count("WATCHDOG=1")
    time.sleep(1)
    assert service.heard().count("WATCHDOG=1") == count == 1
    assert "STATUS=sorting" in service.told
    assert service.stop() < STOP_S
    assert service.heard()[-2:] == ["STOPPING=1", "STATUS=stopping"]


def test_a_chute_thread_that_hangs_ends_the_daemon(serve, tmp_path):
    # gpiozero's pins are real; only the tick never returns, as with a pin library that hangs.
    hang = tmp_path / "hang"
    hang.mkdir()
    (hang / "sitecustomize.py").write_text(
        "import threading, time\n"
        "import bin_daemon.chute.chute as chute\n"
        "end = time.monotonic() + 4\n"
        "tick = chute.Chute.tick\n"
        "chute.Chute.tick = lambda self: (\n"
        "    tick(self) if time.monotonic() < end else threading.Event().wait())\n"
    )
    service = serve(scene(tmp_path), WATCHDOG_USEC="30000000", PYTHONPATH=f"{hang}:{paths.share()}")
    service.await_word("READY=1")
    assert service.process.wait(25) == 1  # sooner than the watchdog of 30 s would end it
    assert "the part 'chute' has given no sign of life" in service.errors()
    assert kept(tmp_path)["count"] == 1


def test_a_stop_while_waiting_for_items_is_quick_also_when_asked_for_twice(serve, tmp_path):
    service = serve(scene(tmp_path))
    service.await_word("READY=1")
    assert service.stop(times=3) < STOP_S
    assert kept(tmp_path) == {"count": 0, "last": "", "running": None, "parked": None}


def test_a_stop_while_the_chute_moves_is_quick(serve, tmp_path):
    raw = raw_config(paths.reel() / "short.yaml")
    raw["camera"]["loop"] = True
    service = serve(raw)
    service.await_word("READY=1")

    def decided() -> bool:
        # The store is there by the time it is ready.
        with History(service.state / "events.db") as history:
            return bool(history.recent(1))

    wait_until(decided, "the first decision", 60)
    assert service.stop() < STOP_S


def test_a_stop_while_the_camera_stalls_is_quick(serve, stream, tmp_path):
    service = serve(filmed(stream, deadline_s=30))
    service.await_word("READY=1")
    stream.flowing.clear()
    time.sleep(0.5)
    assert service.stop() < STOP_S
    assert kept(tmp_path)["count"] == 0


def test_a_stop_while_a_stalled_camera_is_reopened_is_quick(serve, stream):
    service = serve(filmed(stream, deadline_s=0.5))
    service.await_word("READY=1")
    stream.flowing.clear()
    wait_until(lambda: "opening the camera once more" in service.errors(), "the camera to stall")
    assert service.stop() < STOP_S


def test_a_stop_while_it_starts_up_is_quick(serve, stream, tmp_path):
    stream.flowing.clear()
    service = serve(filmed(stream))
    wait_until(lambda: (service.state / "failures.json").exists(), "the start")
    time.sleep(1)
    assert service.stop() < STOP_S
    assert not any(line.startswith("READY") for line in service.heard())
    assert kept(tmp_path)["running"] is None


def test_a_stop_while_the_broker_does_not_answer_is_quick(serve, broker, tmp_path):
    mqtt = {"host": "127.0.0.1", "port": broker.port}
    service = serve(scene(tmp_path, mqtt=mqtt))
    service.await_word("READY=1")
    wait_until(lambda: "connected" in service.errors(), "the connection")
    broker.freeze()
    try:
        assert service.stop() < STOP_S
    finally:
        broker.thaw()


def test_a_stop_while_the_broker_is_gone_is_quick(serve, tmp_path):
    service = serve(scene(tmp_path, mqtt={"host": "127.0.0.1", "port": free_port()}))
    service.await_word("READY=1")
    assert service.stop() < STOP_S


def test_a_camera_that_stalls_for_good_ends_the_daemon_and_counts(serve, stream, tmp_path):
    service = serve(filmed(stream, deadline_s=0.5))
    service.await_word("READY=1")
    stream.flowing.clear()
    assert service.process.wait(60) == 1
    assert kept(tmp_path)["count"] == 1
    assert "no frame within" in kept(tmp_path)["last"]


def test_kills_are_counted_until_the_bin_is_degraded_and_tells_so(serve, broker, tmp_path):
    mqtt = {"host": "127.0.0.1", "port": broker.port, "retry_max_s": 1}
    failed(tmp_path / "state", LIMIT - 2)
    for _ in range(2):
        service = serve(scene(tmp_path, mqtt=mqtt))
        service.await_word("READY=1")
        assert "STATUS=sorting" in service.told
        service.process.kill()
        service.process.wait()
    ear = Ear(broker.port)
    service = serve(scene(tmp_path, mqtt=mqtt), WATCHDOG_USEC="4000000")
    service.await_word("STATUS=degraded: the daemon has failed 5 times lately")
    assert "READY=1" in service.told
    service.await_word("WATCHDOG=1")
    wait_until(lambda: ear.payloads("bins/b1/alert/degraded"), "the alert")
    wait_until(lambda: kept(tmp_path)["parked"], "the chute to be at the residual route")
    assert "killed" in json.loads(ear.payloads("bins/b1/alert/degraded")[-1])["message"]
    ear.close()
    assert service.stop(times=2) < STOP_S
    assert kept(tmp_path)["count"] == 0  # stopped by hand: it may try again


def test_a_wrong_configuration_is_exit_code_2_and_no_failure(serve, tmp_path):
    raw = scene(tmp_path)
    raw["routes"].pop("recyclables")
    service = serve(raw)
    assert service.process.wait(60) == 2
    assert kept(tmp_path)["count"] == 0


def test_silence_is_quick_and_never_fails(cli, tmp_path):
    (tmp_path / "bin.yaml").write_text(yaml.safe_dump(scene(tmp_path)))
    before = time.monotonic()
    done = cli("silence", "--config", tmp_path / "bin.yaml", "--state", tmp_path / "state")
    assert (done.returncode, done.stderr) == (0, "")
    assert time.monotonic() - before < 10  # TimeoutStopSec= of the unit


def test_silence_uses_the_last_good_configuration_where_the_present_one_is_broken(cli, tmp_path):
    config, state = tmp_path / "bin.yaml", tmp_path / "state"
    raw = scene(tmp_path)
    config.write_text(yaml.safe_dump({**raw, "chute": {**raw["chute"], "pins": "lgpio"}}))
    silence = ("silence", "--config", config, "--state", state)
    first = cli(*silence).stderr
    assert "chute.pins" in first  # the pins of a desk cannot be had, but they were tried
    config.write_text("bin: {id: [")
    done = cli(*silence)
    assert done.returncode == 0
    assert "not valid YAML" in done.stderr
    assert first in done.stderr


@pytest.mark.parametrize("config", ["no_such_profile", "flap"])
def test_silence_tells_what_it_cannot_reach(cli, config):
    done = cli("silence", "--config", config, GPIOZERO_PIN_FACTORY="")
    assert done.returncode == 0
    assert done.stderr.startswith("bin-daemon: silence: ")
