"""The connection to the broker: one thread that makes it, keeps it, and makes it again.

A `Connection` is never used twice, so nothing of an old one - packet ids, paho's own queue - can
leak into the next. What happens on it is told to a listener from this thread. Events never live
here: a connection that breaks forgets all it was given. paho is imported with the first attempt.
"""

from __future__ import annotations

import contextlib
import dataclasses
import logging
import random
import threading
import time
from enum import Enum, auto
from typing import TYPE_CHECKING, Any, Protocol

from bin_daemon.config.sections import MqttSection, TlsSection
from bin_daemon.core.errors import ConfigError
from bin_daemon.core.worker import Worker

if TYPE_CHECKING:
    import ssl

    from paho.mqtt.client import Client, DisconnectFlags, MQTTMessage
    from paho.mqtt.properties import Properties
    from paho.mqtt.reasoncodes import ReasonCode

log = logging.getLogger(__name__)

CONNECT_TIMEOUT_S = 10.0
STABLE_S = 10.0  # a connection that held this long was a good one: the back-off begins anew
SHORT_LIVES = 3  # so many connections in a row that did not hold are no accident
RETRY_MIN_S = 1.0
WINDOW = 20  # unacknowledged publishes, where the broker does not ask for fewer
MAX_PACKET = 268_435_455  # MQTT 5, section 2.1.4: the longest packet there is
ACCEPTED_PACKET = 65_536  # the longest packet the broker may send here; commands are short
_TICK_S = 1.0

# CONNACK reason codes that a quick retry cannot cure (MQTT 5, section 3.2.2.2).
LOGIN_REFUSED = {0x85, 0x86, 0x87, 0x8A, 0x8C}
# DISCONNECT reason codes (MQTT 5, section 3.14.2.1); paho gives the first for a broker's silence.
KEEP_ALIVE_TIMEOUT = 0x8D
SESSION_TAKEN_OVER = 0x8E


class ConnectionState(Enum):
    """How far a connection has come; the last four are ends."""

    NEW = auto()
    CONNECTING = auto()  # from looking up the name to the answer to the login
    UP = auto()  # the broker has accepted
    CLOSING = auto()  # the goodbye is on its way
    CLOSED = auto()  # the goodbye is said, and the last will discarded
    REFUSED = auto()  # no login: the broker says so, or a file that it takes cannot be used
    HUNG_UP = auto()  # the other side ended it
    LOST = auto()  # unreachable, gone silent, or given up here


_ENDS = frozenset(
    {ConnectionState.CLOSED, ConnectionState.REFUSED, ConnectionState.HUNG_UP, ConnectionState.LOST}
)
_NEXT = {
    ConnectionState.NEW: {ConnectionState.CONNECTING, ConnectionState.LOST},
    ConnectionState.CONNECTING: {ConnectionState.UP, *_ENDS},
    ConnectionState.UP: {ConnectionState.CLOSING, *_ENDS},
    ConnectionState.CLOSING: _ENDS,
}


@dataclasses.dataclass(frozen=True, slots=True)
class Parameters:
    """What a connection is made from.

    will: topic and payload of the last will, which is retained. subscription: the topic filter.
    """

    mqtt: MqttSection
    client_id: str
    will: tuple[str, str]
    subscription: str


class Listener(Protocol):
    """Who hears what happens; called from the connection's thread, so it must be quick."""

    def on_up(self, connection: Connection) -> None:
        """The broker has accepted; commands are subscribed to."""

    def on_down(self, connection: Connection, why: str) -> None:
        """The connection has ended, or never came up; its `state` says how."""

    def on_acknowledged(self, connection: Connection, mid: int, code: int, words: str) -> None:
        """A PUBACK has come; codes from 0x80 are refusals."""

    def on_subscribed(self, connection: Connection, code: int, words: str) -> None:
        """The broker has answered the subscription; codes from 0x80 are refusals."""

    def on_message(self, topic: str, payload: bytes, *, retained: bool) -> None:
        """A message on a subscribed topic."""


class Connection:
    """One connection to the broker, from the attempt to its end.

    state, why: how far it has come, and why it ended. up_at: when it came up, `time.monotonic`
    seconds. Known from `on_up` on: window, how many publishes may be unacknowledged; max_packet,
    the longest packet, in bytes, that the broker takes.
    """

    def __init__(self, parameters: Parameters, listener: Listener) -> None:
        self._parameters, self._mqtt, self._listener = parameters, parameters.mqtt, listener
        self._client: Client | None = None
        self._lock = threading.Lock()  # all but `run` may come from other threads
        self.state = ConnectionState.NEW
        self.why = ""
        self.up_at: float | None = None
        self.window = WINDOW
        self.max_packet = MAX_PACKET

    def _become(self, state: ConnectionState, why: str = "") -> bool:
        """Change the state; whether it did.

        What cannot follow is ignored: of several things that end a connection the first counts.
        """
        with self._lock:
            if state not in _NEXT.get(self.state, ()):
                return False
            self.state, self.why = state, why
            if state is ConnectionState.UP:
                self.up_at = time.monotonic()
            return True

    def publish(self, topic: str, payload: str, *, retain: bool) -> int | None:
        """Send at QoS 1; the packet id that its acknowledgement will name, or None if not up."""
        if self._client is None or self.state is not ConnectionState.UP:
            return None
        return self._client.publish(topic, payload.encode(), qos=1, retain=retain).mid

    def drop(self, why: str) -> None:
        """Give it up without a word to the broker, which then publishes the last will."""
        self._become(ConnectionState.LOST, why)

    def disconnect(self) -> None:
        """Say goodbye; the broker then discards the last will."""
        if self._client is not None and self._become(ConnectionState.CLOSING):
            self._client.disconnect()

    def run(self) -> None:
        """Connect, and serve the connection until it ends."""
        self._become(ConnectionState.CONNECTING)
        try:
            self._serve()
        except ConfigError as error:
            self._become(ConnectionState.REFUSED, str(error))
        except OSError as error:
            self._become(ConnectionState.LOST, _words(error))
        except Exception as error:
            # paho raises what it likes on packets that are not MQTT; a bin must outlive that.
            log.exception("the connection to the broker failed")
            self._become(ConnectionState.LOST, f"protocol error: {error!r}")
        finally:
            if self._client is not None and (sock := self._client.socket()):
                sock.close()

    def _serve(self) -> None:
        from paho.mqtt.enums import MQTTErrorCode
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        client = self._make_client()
        asked = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        asked.SessionExpiryInterval = 0
        asked.MaximumPacketSize = ACCEPTED_PACKET
        mqtt = self._mqtt
        client.connect(mqtt.host, mqtt.port, mqtt.keepalive_s, clean_start=True, properties=asked)
        self._client = client
        deadline = time.monotonic() + CONNECT_TIMEOUT_S
        while self.state not in _ENDS:
            if client.loop(_TICK_S) != MQTTErrorCode.MQTT_ERR_SUCCESS:
                self._become(ConnectionState.LOST, self._guess())
            elif self.state is ConnectionState.CONNECTING and time.monotonic() > deadline:
                self.drop("it does not answer")

    def _guess(self) -> str:
        """Why a connection ended of which nothing is known but that it ended."""
        if self.up_at is not None:
            return "connection lost"
        if self._mqtt.tls is None:
            wanted = "does it want TLS (mqtt.tls)?"
        elif self._mqtt.tls.certificate is None:
            wanted = "does it want a client certificate (mqtt.tls)?"
        else:
            wanted = "does it trust mqtt.tls.certificate?"
        return f"it hangs up before the login; {wanted}"

    def _make_client(self) -> Client:
        from paho.mqtt.client import Client, MQTTv5
        from paho.mqtt.enums import CallbackAPIVersion

        client = Client(
            CallbackAPIVersion.VERSION2, self._parameters.client_id, protocol=MQTTv5,
            reconnect_on_failure=False,
        )  # fmt: skip
        client.connect_timeout = CONNECT_TIMEOUT_S
        if self._mqtt.username is not None:
            client.username_pw_set(self._mqtt.username, self._mqtt.password())
        if self._mqtt.tls is not None:
            client.tls_set_context(_tls_context(self._mqtt.tls))
        client.will_set(*self._parameters.will, qos=1, retain=True)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        # Without a hook here paho would write to the socket from the publishing thread, at the same
        # time as `loop` does in this one; with it, `publish` queues the packet and wakes the loop.
        client.on_socket_register_write = lambda *_: None
        return client

    def _on_connect(
        self, client: Client, _: Any, __: Any, reason: ReasonCode, properties: Properties | None
    ) -> None:
        from paho.mqtt.subscribeoptions import SubscribeOptions

        if reason.value in LOGIN_REFUSED:
            self._become(ConnectionState.REFUSED, f"it refuses the login: {reason}")
        elif reason.is_failure:
            self._become(ConnectionState.LOST, str(reason))
        self.window = min(WINDOW, getattr(properties, "ReceiveMaximum", WINDOW))
        self.max_packet = getattr(properties, "MaximumPacketSize", MAX_PACKET)
        if not self._become(ConnectionState.UP):
            return
        # Retained commands are not to be sent at all; one that is published with the flag while
        # this connection is up keeps it (retain as published), so that it is recognised too.
        options = SubscribeOptions(
            qos=1, retainAsPublished=True, retainHandling=SubscribeOptions.RETAIN_DO_NOT_SEND
        )
        client.subscribe(self._parameters.subscription, options=options)
        self._listener.on_up(self)

    def _on_disconnect(
        self, _: Any, __: Any, flags: DisconnectFlags, reason: ReasonCode, ___: Any
    ) -> None:
        if reason.value == SESSION_TAKEN_OVER:
            why = (
                f"another client uses the id '{self._parameters.client_id}': give each bin its own"
            )
            self._become(ConnectionState.HUNG_UP, why)
        elif flags.is_disconnect_packet_from_server:
            self._become(ConnectionState.HUNG_UP, f"it ended the connection: {reason}")
        elif self.state is ConnectionState.CLOSING:
            self._become(ConnectionState.CLOSED)
        else:
            silent = reason.value == KEEP_ALIVE_TIMEOUT
            self._become(ConnectionState.LOST if silent else ConnectionState.HUNG_UP, self._guess())

    def _on_publish(self, _: Any, __: Any, mid: int, reason: ReasonCode, ___: Any) -> None:
        self._listener.on_acknowledged(self, mid, reason.value, str(reason))

    def _on_subscribe(
        self, _: Any, __: Any, ___: int, reasons: list[ReasonCode], ____: Any
    ) -> None:
        self._listener.on_subscribed(self, reasons[0].value, str(reasons[0]))

    def _on_message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        with contextlib.suppress(UnicodeDecodeError):  # of the topic
            payload = bytes(message.payload)
            self._listener.on_message(message.topic, payload, retained=message.retain)


class Connector(Worker):
    """Keeps up a connection until stopped; one that is up then stays until somebody disconnects it.

    Each bin waits a random part of a growing time ("full jitter", AWS Architecture Blog, 2015), so
    that a fleet does not come back to its broker all at once. A refused login is retried slowly.
    """

    def __init__(self, parameters: Parameters, listener: Listener) -> None:
        super().__init__("mqtt", self._keep_up)
        self._parameters, self._listener = parameters, listener
        self._connection: Connection | None = None

    def close(self, timeout_s: float) -> None:
        """Wait for the end; drop what is up at the deadline. An attempt may outlive it."""
        self.stop(timeout_s)
        if self._connection is not None:
            self._connection.drop("the daemon stops")

    def _keep_up(self) -> None:
        failures = short_lives = 0
        while not self.stopping:
            connection = self._connection = Connection(self._parameters, self._listener)
            connection.run()
            why, up_at = connection.why, connection.up_at
            stable = up_at is not None and time.monotonic() - up_at > STABLE_S
            failures = 0 if stable else failures + 1
            short = up_at is not None and not stable and connection.state is ConnectionState.HUNG_UP
            short_lives = short_lives + 1 if short else 0
            if short_lives >= SHORT_LIVES:
                # Not every broker says so when a second client of the same id takes over.
                why += f", {short_lives} times at once after the login; is "
                why += f"'{self._parameters.client_id}' the id of another client too?"
            self._listener.on_down(connection, why)
            slow = connection.state is ConnectionState.REFUSED
            self.wait(wait_s(failures, self._parameters.mqtt.retry_max_s, slow=slow))


def wait_s(failures: int, longest_s: float, *, slow: bool = False) -> float:
    """How long to wait after so many failures in a row; slow: after a refused login."""
    if slow:
        return random.uniform(0.5, 1.0) * longest_s
    return random.uniform(0.1, min(longest_s, RETRY_MIN_S * 2.0 ** min(failures, 30)))


def _tls_context(tls: TlsSection) -> ssl.SSLContext:
    import ssl

    wanted = f"mqtt.tls.ca: cannot use {tls.ca}"
    try:
        context = ssl.create_default_context(cafile=tls.ca)
        if tls.certificate and tls.key:
            wanted = f"mqtt.tls.certificate: cannot use {tls.certificate} with {tls.key}"
            # An empty password instead of None: OpenSSL must not ask at a terminal.
            context.load_cert_chain(tls.certificate, tls.key, password="")
    except OSError as error:
        raise ConfigError(f"{wanted}: {error}") from error
    return context


def _words(error: OSError) -> str:
    import socket
    import ssl

    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}; see mqtt.tls.ca"
    if isinstance(error, ssl.SSLError):
        return f"no secure connection: {error.reason or error}; see mqtt.tls"
    if isinstance(error, socket.gaierror):
        return f"its name cannot be resolved: {error.strerror}"
    if isinstance(error, TimeoutError):
        return "it does not answer"
    return error.strerror or str(error)
