"""Brokers, listeners and bins for the telemetry tests; each is ended with its test.

Needs `mosquitto` (Debian: apt-get install mosquitto) and `openssl`; what needs a part that is not
there is skipped.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from mqtt_parts import MOSQUITTO, Broker, Ear, MuteBroker, bin_config

from bin_daemon.control.dispatcher import Dispatcher
from bin_daemon.core.clock import SystemClock
from bin_daemon.telemetry.publisher import Publisher


@pytest.fixture
def new_broker(tmp_path: Path) -> Iterator[Callable[..., Broker]]:
    """Makes brokers, not started yet; all are stopped at the end."""
    if MOSQUITTO is None:
        pytest.skip("needs mosquitto")
    made: list[Broker] = []

    def make(settings: str = "allow_anonymous true") -> Broker:
        made.append(Broker(tmp_path / f"broker{len(made)}", settings))
        return made[-1]

    yield make
    for broker in made:
        broker.stop()


@pytest.fixture
def broker(new_broker: Callable[..., Broker]) -> Broker:
    """A broker that lets everybody in, started."""
    made = new_broker()
    made.start()
    return made


@pytest.fixture
def listen() -> Iterator[Callable[..., Ear]]:
    """Makes ears, one at a time; all are closed at the end."""
    ears: list[Ear] = []

    def make(broker: Broker, *, faithful: bool = False, user: str | None = None) -> Ear:
        for ear in ears:
            ear.close()
        ears.append(Ear(broker.port, faithful=faithful, user=user))
        return ears[-1]

    yield make
    for ear in ears:
        ear.close()


@pytest.fixture
def new_bin(tmp_path: Path) -> Iterator[Callable[..., Publisher]]:
    """Makes the telemetry of bin b1, not started yet; all are closed at the end.

    mqtt: settings besides the address of `broker`; store: settings of the store. Retries are quick.
    """
    made: list[Publisher] = []

    def make(
        broker: Broker | MuteBroker | None = None, *, mqtt: dict[str, Any] | None = None,
        keepalive_s: int | None = None,
        verbs: dict[str, Any] | None = None, state: Path = tmp_path, **store: Any,
    ) -> Publisher:  # fmt: skip
        section = None
        if broker is not None:
            section = {"host": "127.0.0.1", "port": broker.port, "retry_max_s": 1, **(mqtt or {})}
        config = bin_config(section, **store)
        if keepalive_s is not None and config.mqtt is not None:
            # Shorter than the configuration allows, so that the test is not long.
            quick = dataclasses.replace(config.mqtt, keepalive_s=keepalive_s)
            config = dataclasses.replace(config, mqtt=quick)
        clock = SystemClock()
        dispatcher = Dispatcher(verbs or {}, clock)
        made.append(Publisher(config, state, clock, dispatcher, synced=lambda: True))
        return made[-1]

    yield make
    for publisher in made:
        publisher.close(2.0)
