"""The thread that ticks the chute in real time."""

import subprocess
import sys
import threading
import time

import pytest
from waiting import wait_until

from bin_daemon.chute.chute import Chute, ChuteState
from bin_daemon.chute.ticker import ChuteThread
from bin_daemon.config.hardware import ChuteSection
from bin_daemon.config.load import validate
from bin_daemon.config.sections import Route
from bin_daemon.core.clock import SystemClock
from bin_daemon.core.errors import ChuteError
from bin_daemon.gpio.factory import open_factory

CONFIG = validate(
    ChuteSection,
    {
        "pins": "mock",
        "servos": {"flap": {"pin": 12, "speed_deg_s": 1000}},
        "poses": {"home": {"flap": 0}, "left": {"flap": -80}},
        "detach_after_s": 0.02,
    },
)
ROUTES = {"paper": validate(Route, {"takes": [], "steps": [{"pose": "left"}]})}


@pytest.fixture
def factory():
    return open_factory("mock")


@pytest.fixture
def chute(factory):
    with Chute(CONFIG, ROUTES, factory, SystemClock()) as chute:
        yield chute


def wait(condition):
    wait_until(condition, "the chute")


def test_the_thread_plays_a_route_in_real_time(chute, factory):
    with ChuteThread(chute) as thread:
        chute.start("paper")
        wait(lambda: chute.state is ChuteState.RESTING)
        thread.check()

    duties = [state.state for state in factory.pin(12).states]
    lowest = min(duty for duty in duties if duty)
    assert chute.dropped
    # -80 degrees of -90 to 90 at 1000 to 2000 us, in a frame of 20 ms.
    assert lowest * 20_000 == pytest.approx(1000 + 10 / 180 * 1000)
    assert not duties[-1]


def test_the_beat_goes_on_while_it_ticks_and_ends_with_it(chute):
    thread = ChuteThread(chute)
    thread.start()
    first = thread.beat_at
    wait(lambda: thread.beat_at > first)
    thread.stop()
    last = thread.beat_at
    time.sleep(0.1)

    assert thread.beat_at == last


def test_a_failing_tick_is_raised_to_the_owner_with_the_servos_silent(chute, factory, monkeypatch):
    with ChuteThread(chute) as thread:
        chute.start("paper")
        wait(lambda: factory.pin(12).state)
        monkeypatch.setattr(chute, "_advance", lambda passed_s: 1 / 0)

        with pytest.raises(ChuteError, match="the chute has stopped: division by zero"):
            wait(thread.check)
    assert not factory.pin(12).state
    assert not chute.homed


def test_a_sound_thread_has_nothing_to_say(chute):
    with ChuteThread(chute) as thread:
        thread.check()


def test_stop_may_come_twice_and_before_the_start(chute):
    thread = ChuteThread(chute)
    thread.stop()
    thread.start()
    thread.stop()
    thread.stop()

    assert "chute" not in {t.name for t in threading.enumerate()}


def test_a_tick_that_hangs_is_reported_after_the_deadline_and_close_still_lets_go(
    chute, factory, monkeypatch
):
    entered, leave = threading.Event(), threading.Event()

    def hang(passed_s):
        entered.set()
        leave.wait(60)

    monkeypatch.setattr("bin_daemon.chute.chute.CLOSE_DEADLINE_S", 0.05)
    thread = ChuteThread(chute)
    thread.start()
    chute.start("paper")
    wait(lambda: factory.pin(12).state)
    monkeypatch.setattr(chute, "_advance", hang)
    assert entered.wait(30)

    with pytest.raises(ChuteError, match=r"did not stop within 0\.05 s"):
        thread.stop(deadline_s=0.05)
    before = time.monotonic()
    chute.close()
    taken_s = time.monotonic() - before
    silent = not factory.pin(12).state
    leave.set()
    thread.stop()

    assert silent
    assert taken_s < 30.0


def test_a_process_that_forgot_to_stop_it_can_still_end():
    code = (
        "import types\n"
        "from bin_daemon.chute.ticker import ChuteThread\n"
        "ChuteThread(types.SimpleNamespace(tick=lambda: None)).start()\n"
    )

    # Raises TimeoutExpired where the thread keeps the process alive.
    done = subprocess.run([sys.executable, "-c", code], timeout=300, check=False)

    assert done.returncode == 0
