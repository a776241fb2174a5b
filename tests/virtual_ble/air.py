"""bumble's virtual controllers on an air that has connection events, as a radio has: nothing goes in no time."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Final

from bumble import controller, core, hci, link, ll
from bumble.device import Device
from bumble.host import Host
from bumble.transport.common import AsyncPipeSink

INTERVAL_S: Final = 0.015
"""Between two connection events of a connection."""
PACKETS: Final = 4
"""In a connection event, each way."""
SLOT_S: Final = 0.0025
"""A packet of 251 octets at 1 Mbit/s, an empty one in answer, and the pauses: 2.12 + 0.08 + 2 x 0.15 ms."""
PAUSE_S: Final = 0.00015
"""From one packet to the next: T_IFS."""


class AirController(controller.Controller):
    """What bumble's lacks: packets of 251 octets that wait for their slot, and a scan response of its own."""

    le_acl_data_packet_length = 251
    total_num_le_acl_data_packets = 8
    # legacy advertising only, and no privacy: whoever knows no more finds each other so
    le_features = controller.Controller.le_features & ~(
        hci.LeFeatureMask.LE_EXTENDED_ADVERTISING | hci.LeFeatureMask.LL_PRIVACY
    )

    def __init__(self, name: str, air: Air) -> None:
        super().__init__(name, link=air)
        self._air = air

    def on_hci_acl_data_packet(self, packet: hci.HCI_AclDataPacket) -> None:
        if connection := self.find_connection_by_handle(packet.connection_handle):
            self._air.queue(connection, packet)

    def send_hci_packet(self, packet: hci.HCI_Packet) -> None:
        if isinstance(packet, hci.HCI_LE_Advertising_Report_Event):
            kind = hci.HCI_LE_Advertising_Report_Event.EventType.SCAN_RSP
            for report in packet.reports:
                peer = self._air.find_le_controller(report.address)
                if report.event_type == kind and peer:
                    report.data = peer.le_legacy_advertiser.scan_response_data
            packet = hci.HCI_LE_Advertising_Report_Event(packet.reports)
        super().send_hci_packet(packet)


_Packet = tuple[controller.Connection, hci.HCI_AclDataPacket]
"""The end that sends it, and it."""


class _Channel:
    """The connection events of one connection."""

    def __init__(self, air: Air) -> None:
        self._air = air
        self._loop = asyncio.get_running_loop()
        self._anchor = self._loop.time()
        self._left = 0  # packets that still fit into this event
        self._timer: asyncio.TimerHandle | None = None
        self._queues: dict[int, deque[_Packet]] = {}
        """By the end that sends: bumble's connections are no keys."""

    def queue(self, connection: controller.Connection, packet: hci.HCI_AclDataPacket) -> None:
        self._queues.setdefault(id(connection), deque()).append((connection, packet))
        if self._timer is None:
            self._wait_for_event()

    def close(self) -> None:
        if self._timer:
            self._timer.cancel()

    def _wait_for_event(self) -> None:
        events = math.floor((self._loop.time() - self._anchor) / INTERVAL_S) + 1
        self._left = PACKETS
        self._timer = self._loop.call_at(self._anchor + events * INTERVAL_S, self._slot)

    def _slot(self) -> None:
        """The next packet each way; the event is over when there is none, or it is full."""
        waiting = [queue for queue in self._queues.values() if queue]
        if waiting and self._left:
            self._left -= 1
            packets = [queue.popleft() for queue in waiting]
            self._timer = self._loop.call_later(SLOT_S, self._arrive, packets)
        elif waiting:
            self._wait_for_event()
        else:
            self._timer = None

    def _arrive(self, packets: list[_Packet]) -> None:
        for connection, packet in packets:
            connection.on_hci_acl_data_packet(packet)
            self._air.packets += 1
        self._timer = self._loop.call_later(PAUSE_S, self._slot)


class Air(link.LocalLink):
    """The air that controllers share."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.packets = 0
        """So many have arrived."""
        self._channels: dict[frozenset[str], _Channel] = {}

    async def device(self, name: str, address: str) -> Device:
        """A bumble device on this air, switched on."""
        own = AirController(name, self)
        device = Device(name=name, address=hci.Address(address), host=Host(own, AsyncPipeSink(own)))
        await device.power_on()
        return device

    def queue(self, connection: controller.Connection, packet: hci.HCI_AclDataPacket) -> None:
        ends = _ends(connection)
        if ends not in self._channels:
            self._channels[ends] = _Channel(self)
        self._channels[ends].queue(connection, packet)

    def lose(self, address: str) -> None:
        """The connections of the device at `address` are gone, as both ends see when their supervision time is over."""
        for each in list(self.controllers):
            for connection in list(each.le_connections.values()):
                ends = _ends(connection)
                if address in ends:
                    each.on_le_disconnected(connection, hci.HCI_ErrorCode.CONNECTION_TIMEOUT_ERROR)
                    self._forget(ends)

    def send_acl_data(
        self,
        sender_controller: controller.Controller,
        destination_address: hci.Address,
        transport: core.PhysicalTransport,
        data: bytes,
    ) -> None:
        """As bumble's, but from the address that the connection has, whichever that is."""
        sender = sender_controller.le_connections.get(destination_address)
        receiver = self.find_le_controller(destination_address)
        if sender and receiver:
            receiver.on_link_acl_data(sender.self_address, transport, data)

    def send_ll_control_pdu(
        self, sender_address: hci.Address, receiver_address: hci.Address, packet: ll.ControlPdu
    ) -> None:
        if isinstance(packet, ll.TerminateInd):
            self._forget(frozenset((_text(sender_address), _text(receiver_address))))
        super().send_ll_control_pdu(sender_address, receiver_address, packet)

    def _forget(self, ends: frozenset[str]) -> None:
        if channel := self._channels.pop(ends, None):
            channel.close()


def _ends(connection: controller.Connection) -> frozenset[str]:
    return frozenset((_text(connection.self_address), _text(connection.peer_address)))


def _text(address: hci.Address) -> str:
    return str(address).split("/")[0]
