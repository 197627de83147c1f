"""An MQTT broker that is told of this device's health: retained, with a last will.

The connection is kept and taken up again in a thread of the library. Nothing here waits for it, and
what cannot be told is not kept: the next telling says how things are then.
"""

from __future__ import annotations

import contextlib
import logging
import random
from collections.abc import Callable
from typing import Any

from paho.mqtt.client import Client, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion, MQTTProtocolVersion

from edgehemo.device.receiver_files import credentials_of, tls_context
from edgehemo.device.receivers import Receiver
from edgehemo.interop.health import NO_USER, Health, silence_of, topic_of

log = logging.getLogger(__name__)

# A broker speaks the last will after one and a half of it.
KEEP_ALIVE_S = 60
_RETRY_FROM_S, _RETRY_TO_S = 5, 600
# Delivered at least once to the broker; what it says of storing counts for nothing here.
_QOS = 1


class _Client(Client):
    """Asks no proxy that the environment names: what goes out goes to the configured address."""

    def _get_proxy(self) -> dict[str, Any] | None:
        return None


class MqttTeller:
    """One broker. Raises ReceiverFileError where the receiver's files are wrong."""

    def __init__(
        self,
        receiver: Receiver,
        store: str,
        device: str,
        *,
        jitter: Callable[[], float] = random.random,
    ) -> None:
        credentials = credentials_of(receiver)
        self._topic = topic_of(store, None if credentials is None else credentials.user)
        self._name = receiver.name
        self._client = _Client(
            CallbackAPIVersion.VERSION2,
            client_id=f"edgehemo-{store[:12]}",
            protocol=MQTTProtocolVersion.MQTTv311,
        )
        if credentials is not None:
            # A broker knows no tokens of a bearer: it is the password of whoever bears it.
            user = credentials.user or NO_USER
            self._client.username_pw_set(user, credentials.password or credentials.token)
        if receiver.encrypted:
            self._client.tls_set_context(tls_context(receiver))
        self._silence = _text(silence_of(store, device))
        self._client.will_set(self._topic, self._silence, qos=_QOS, retain=True)
        # Each device another wait, which doubles: a broker that comes back is not overrun.
        self._client.reconnect_delay_set(round(_RETRY_FROM_S * (1 + jitter())), _RETRY_TO_S)
        self._client.max_queued_messages_set(1)
        self._last: bytes | None = None
        self._client.on_connect = self._connected
        self._client.connect_async(receiver.host, receiver.port, KEEP_ALIVE_S)
        self._client.loop_start()

    def tell(self, health: Health) -> None:
        """Tell how things are, now or once the broker hears it; returns at once."""
        self._last = _text(health)
        if self._client.is_connected():
            self._client.publish(self._topic, self._last, qos=_QOS, retain=True)
        else:
            log.debug("%s does not hear of this device's health", self._name)

    def _connected(self, client: Client, *_: object) -> None:
        """The broker hears again, and may have spoken the last will meanwhile."""
        if self._last is not None:
            client.publish(self._topic, self._last, qos=_QOS, retain=True)

    def close(self, wait_s: float = 1.0) -> None:
        """Say goodbye: a device that is switched off in order is silent as well."""
        if self._client.is_connected():
            said: MQTTMessageInfo = self._client.publish(
                self._topic, self._silence, qos=_QOS, retain=True
            )
            with contextlib.suppress(RuntimeError, ValueError):
                said.wait_for_publish(wait_s)
            self._client.disconnect()
        self._client.loop_stop()


def _text(health: Health) -> bytes:
    return health.model_dump_json().encode("utf-8")
