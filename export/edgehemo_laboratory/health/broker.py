"""Listens to an MQTT broker in a thread of its own; what comes goes into an inbox.

A broker that is not there, refuses us or says nonsense is tried again for ever, and costs nothing
else.
"""

from __future__ import annotations

import logging
import random
import threading
from typing import Any

from paho.mqtt.client import Client, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from edgehemo.device.receiver_files import credentials_of, tls_context
from edgehemo.device.receivers import Receiver
from edgehemo.errors import place_of
from edgehemo_laboratory.clock import now, seconds_of
from edgehemo_laboratory.health.inbox import Inbox
from edgehemo_laboratory.health.told import ASKED

log = logging.getLogger(__name__)

KEEP_ALIVE_S = 60
_RETRY_FROM_S, _RETRY_TO_S = 2, 120
_END_WITHIN_S = 5.0
# Larger packets the broker does not even send us.
MAX_PACKET_BYTES = 65_536


class _Client(Client):
    """Asks no proxy that the environment names."""

    def _get_proxy(self) -> dict[str, Any] | None:
        return None


class BrokerListener:
    """Of one broker. Raises ReceiverFileError where the files that are named are wrong."""

    def __init__(self, broker: Receiver, inbox: Inbox) -> None:
        self._inbox = inbox
        self._called = broker.address
        self._stop = threading.Event()
        self._client = _Client(CallbackAPIVersion.VERSION2, protocol=MQTTProtocolVersion.MQTTv5)
        credentials = credentials_of(broker)
        if credentials is not None:
            self._client.username_pw_set(
                credentials.user or "laboratory", credentials.password or credentials.token
            )
        if broker.encrypted:
            self._client.tls_set_context(tls_context(broker))
        self._client.reconnect_delay_set(_RETRY_FROM_S + random.randint(0, 3), _RETRY_TO_S)
        self._client.on_connect = self._connected
        self._client.on_disconnect = self._disconnected
        self._client.on_message = self._message
        # paho leaves this constructor without types.
        most = Properties(PacketTypes.CONNECT)  # type: ignore[no-untyped-call]
        most.MaximumPacketSize = MAX_PACKET_BYTES
        self._client.connect_async(broker.host, broker.port, KEEP_ALIVE_S, properties=most)
        self._thread = threading.Thread(target=self._listen, name="broker", daemon=True)

    @property
    def connected(self) -> bool:
        """Whether the broker is heard now."""
        return self._client.is_connected()

    def start(self) -> None:
        """Listen until `stop`."""
        self._thread.start()

    def stop(self) -> None:
        """End; what was not kept yet comes again, since it is retained."""
        self._stop.set()
        self._client.disconnect()
        self._thread.join(_END_WITHIN_S)

    def _listen(self) -> None:
        while not self._stop.is_set():
            try:
                self._client.loop_forever(retry_first_connection=True)
            except Exception as error:
                # What a broker sends may be anything.
                log.warning("%s: %s at %s", self._called, type(error).__name__, place_of(error))
            self._stop.wait(_RETRY_FROM_S)

    def _connected(self, client: Client, _: Any, __: Any, reason: Any, ___: Any) -> None:
        if reason.is_failure:
            log.warning("%s refuses the laboratory: %s", self._called, reason)
            return
        log.info("%s is listened to", self._called)
        client.subscribe(ASKED, qos=1)

    def _disconnected(self, _: Client, __: Any, ___: Any, reason: Any, ____: Any) -> None:
        if not self._stop.is_set():
            log.warning("%s is not heard any more: %s", self._called, reason)

    def _message(self, _: Client, __: Any, message: MQTTMessage) -> None:
        try:
            topic = message.topic
        except UnicodeDecodeError:
            self._inbox.count("garbage")
            return
        came_at_s = seconds_of(now())
        self._inbox.put(topic, bytes(message.payload), came_at_s=came_at_s, retained=message.retain)
