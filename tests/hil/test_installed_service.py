"""The shipped unit under systemd: trouble, and what comes of it."""

from __future__ import annotations

import json
import time

from bench import STATE, UNIT, Bench
from pi import wait_until

STOP_S = 5.0


def test_systemd_calls_it_ready_when_the_first_frame_was_seen(bench: Bench) -> None:
    bench.stop()
    bench.pi.run(f"rm -f {STATE}/failures.json")
    bench.free_lines()
    bench.show("empty")
    bench.stall()
    bench.pi.run(f"systemctl start --no-block {UNIT}")
    wait_until(lambda: bench.pid, "the process")
    bench.pi.run("sleep 3")
    assert bench.shown("ActiveState") == "activating"
    began = time.monotonic()
    bench.stall(False)
    wait_until(lambda: bench.shown("ActiveState") == "active", "it to be ready", 60)
    bench.wait_online(began)
    bench.wait_state("waiting", since=began)


def test_sigterm_ends_it_within_five_seconds_and_it_says_goodbye(sorting: Bench) -> None:
    pid = sorting.pid
    began = time.monotonic()
    sorting.pi.run(f"kill {pid}")
    wait_until(lambda: sorting.pi.ask(f"kill -0 {pid}")[0], "the process to end")
    assert time.monotonic() - began < STOP_S
    wait_until(lambda: sorting.heard("status", began), "a last word")
    assert sorting.heard("status", began)[0]["state"] == "stopped"


def test_a_stop_while_the_camera_is_stalled_takes_no_longer(sorting: Bench) -> None:
    sorting.stall()
    sorting.pi.run("sleep 1")
    began = time.monotonic()
    sorting.pi.run(f"systemctl stop {UNIT}")
    assert time.monotonic() - began < STOP_S + 1.5  # ExecStopPost comes on top
    assert sorting.shown("Result") == "success"


def test_a_killed_daemon_is_back_within_seconds_and_counts_it(sorting: Bench) -> None:
    before, pid = sorting.restarts, sorting.pid
    began = time.monotonic()
    sorting.pi.run(f"kill -KILL {pid}")
    wait_until(lambda: sorting.heard("status", began), "the last will")
    assert sorting.heard("status", began)[0]["state"] == "offline"
    sorting.wait_restarted(before)
    assert json.loads(sorting.pi.run(f"cat {STATE}/failures.json"))["count"] == 1
    sorting.wait_state("waiting", since=began)


def test_a_hung_process_is_killed_by_the_watchdog_and_started_again(bench: Bench) -> None:
    bench.start()
    before, pid = bench.restarts, bench.pid
    began = time.monotonic()
    bench.pi.run(f"kill -STOP {pid}")
    bench.wait_restarted(before, 120)
    assert bench.pid != pid
    assert "watchdog" in bench.journal().lower()
    bench.wait_state("waiting", since=began)


def test_a_broker_that_restarts_finds_the_bin_online_again_and_loses_no_item(
    bench: Bench,
) -> None:
    bench.start()
    before = bench.restarts
    bench.pi.run("systemctl stop mosquitto")
    began, cursor = time.monotonic(), bench.cursor()
    bench.show("items/plastic_bottle")
    wait_until(lambda: "-> recyclables" in bench.journal(cursor), "the decision")
    bench.show("empty")
    wait_until(lambda: "plastic: " in bench.journal(cursor), "the end of the item")
    bench.pi.run("systemctl start mosquitto")
    bench.wait_online(began)
    event = wait_until(lambda: bench.heard("event/item", began), "the item")[0]
    assert event["label"] == "plastic"
    assert bench.restarts == before


def test_a_stalled_camera_is_opened_once_more_then_the_daemon_starts_again_and_then_degrades(
    bench: Bench,
) -> None:
    bench.start()
    before = bench.restarts
    cursor = bench.cursor()
    bench.stall()
    wait_until(lambda: bench.restarts > before, "the first restart", 90)
    assert "opening the camera once more" in bench.journal(cursor)
    wait_until(lambda: bench.last("alert/degraded"), "the alert", 240)
    alert = bench.last("alert/degraded")
    assert alert["severity"] == "error"
    assert "no frame" in alert["message"]
    assert bench.shown("ActiveState") == "active"
    assert bench.last("state")["state"] == "degraded"
    bench.stall(False)
    bench.start()


def test_a_gpio_chip_that_goes_away_is_reported_and_comes_back(bench: Bench) -> None:
    bench.start()
    before = bench.restarts
    began = time.monotonic()
    bench.pi.run("/usr/local/sbin/hil-devices unplug")
    try:
        bench.show("items/plastic_bottle")
        wait_until(lambda: bench.restarts > before, "the daemon to notice", 90)
        bench.show("empty")
    finally:
        bench.pi.run("/usr/local/sbin/hil-devices plug")
    bench.free_lines()
    wait_until(lambda: bench.shown("ActiveState") == "active", "it to be ready", 120)
    bench.wait_state("waiting", since=began, limit_s=60)


def test_the_shipped_drop_ins_are_in_force(bench: Bench) -> None:
    assert "SystemMaxUse=64M" in bench.pi.run("systemd-analyze cat-config systemd/journald.conf")
    assert bench.pi.run("systemctl show -p RuntimeWatchdogUSec --value") == "14s"
