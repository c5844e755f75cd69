"""Retry, version negotiation and stateless reset, with a client that we did not write."""

import asyncio
import os
import signal
import socket

from aioquic.quic.packet import (
    QuicPacketType,
    QuicProtocolVersion,
    encode_quic_version_negotiation,
    pull_quic_header,
)
from aioquic.buffer import Buffer

import pattern
from client import Client, connect
from tap import tap

ALWAYS = {"quic": {"retry": "always"}}
# RFC 9000 section 15: reserved to exercise version negotiation.
UNKNOWN_VERSION = 0x1A2A3A4A


# ---- Retry ----------------------------------------------------------------


async def test_a_client_shows_its_address_and_is_served(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port], **ALWAYS)
    for _ in range(5):
        async with house.connect(spooky) as client:
            assert client._quic._retry_count == 1
            answer = await client.get("/bytes/100000")
            assert (answer.status, answer.body) == (200, pattern.body(100_000))


async def test_nobody_is_asked_where_it_is_off_or_calm(house):
    origin = house.origin()
    for retry in ("never", "auto"):
        spooky = house.spooky("daemon", [origin.port], quic={"retry": retry})
        async with house.connect(spooky) as client:
            assert client._quic._retry_count == 0
            assert (await client.get("/bytes/10")).status == 200
        spooky.stop()


async def test_a_retry_is_small_and_its_token_is_good_at_home_alone(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port], **ALWAYS)
    async with tap(spooky.port) as wire:
        async with connect(wire.port, house.certificates.ca) as client:
            assert client._quic._retry_count == 1
        hello = wire.datagrams[0]
    assert header(hello).packet_type == QuicPacketType.INITIAL
    # Somebody else who saw it is asked as well …
    [answer] = await asyncio.to_thread(exchange, spooky.port, hello)
    retry = header(answer)
    assert retry.packet_type == QuicPacketType.RETRY and len(answer) < 200
    # … and has to answer from where it asked: each exchange has a port of its own.
    start = b"\xc0" + QuicProtocolVersion.VERSION_1.to_bytes(4, "big")
    for cid in (retry.source_cid, retry.destination_cid):
        start += bytes([len(cid)]) + cid
    start += bytes([0x40, len(retry.token)]) + retry.token
    stolen = start + bytes(1200 - len(start))
    [refusal] = await asyncio.to_thread(exchange, spooky.port, stolen)
    assert header(refusal).packet_type == QuicPacketType.INITIAL
    assert len(refusal) < 100


# ---- version negotiation --------------------------------------------------


async def test_a_client_of_another_version_learns_ours_and_is_served(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    settings = {
        "original_version": UNKNOWN_VERSION,
        "supported_versions": [QuicProtocolVersion.VERSION_1, UNKNOWN_VERSION],
    }
    async with house.connect(spooky, **settings) as client:
        assert client._quic._version_negotiated_incompatible
        assert client._quic._version == QuicProtocolVersion.VERSION_1
        assert (await client.get("/bytes/10")).status == 200


async def test_version_negotiation_is_smaller_than_its_cause_and_names_version_1(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    ids = bytes([8]) + bytes(range(8)) + bytes([4]) + b"four"
    start = b"\xc0" + UNKNOWN_VERSION.to_bytes(4, "big") + ids
    [answer] = await asyncio.to_thread(
        exchange, spooky.port, start + bytes(1200 - len(start))
    )
    expected = encode_quic_version_negotiation(
        source_cid=bytes(range(8)),
        destination_cid=b"four",
        supported_versions=[QuicProtocolVersion.VERSION_1],
    )
    # The first byte's lower bits are anything.
    assert answer[0] & 0x80 and answer[1:] == expected[1:]
    short = start + bytes(1199 - len(start))
    assert await asyncio.to_thread(exchange, spooky.port, short) == []


# ---- stateless reset ------------------------------------------------------


class Listening(Client):
    """aioquic drops what is not of its connection; this looks what it was."""

    def __init__(self, *args, **kwargs):
        super().__init__(*args, **kwargs)
        self.resets = asyncio.Event()

    def datagram_received(self, data, addr):
        # RFC 9000 section 10.3.1, with the token that aioquic was given for the id that
        # it sends to.
        token = self._quic._peer_cid.stateless_reset_token
        if len(data) >= 21 and token and data.endswith(token):
            self.resets.set()
        super().datagram_received(data, addr)


async def test_after_a_restart_with_the_same_secret_clients_are_told(house, tmp_path):
    secret = tmp_path / "spooky.secret"
    secret.write_bytes(os.urandom(32).hex().encode())
    origin = house.origin()
    ports = {"listen": {"address": "127.0.0.1", "port": house.config([])["listen"]["port"]}}
    settings = {"secret": {"file": str(secret)}, "workers": 4, **ports}
    spooky = house.spooky("daemon", [origin.port], **settings)
    async with house.connect(spooky, protocol=Listening) as client:
        assert (await client.get("/bytes/10")).status == 200
        # Its connection goes on with an id that was issued later.
        client.change_connection_id()
        assert (await client.get("/bytes/10")).status == 200
        spooky.expected_code = -signal.SIGKILL
        spooky.kill()
        house.spooky("daemon", [origin.port], **settings)
        client.request("GET", "/bytes/10")
        await asyncio.wait_for(client.resets.wait(), 5)


async def test_after_a_restart_with_another_secret_nobody_is_told(house, tmp_path):
    origin = house.origin()
    ports = {"listen": {"address": "127.0.0.1", "port": house.config([])["listen"]["port"]}}
    spooky = house.spooky("daemon", [origin.port], **ports)
    async with house.connect(spooky, protocol=Listening) as client:
        assert (await client.get("/bytes/10")).status == 200
        spooky.expected_code = -signal.SIGKILL
        spooky.kill()
        house.spooky("daemon", [origin.port], **ports)
        received = []
        client.datagram_received = lambda data, addr: received.append(data)
        client.request("GET", "/bytes/10")
        await asyncio.sleep(1)
        assert received == []


def header(datagram: bytes):
    return pull_quic_header(Buffer(data=datagram), host_cid_length=16)


def exchange(port: int, datagram: bytes) -> list[bytes]:
    """What comes back for one datagram, within a while."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(0.5)
        sock.sendto(datagram, ("127.0.0.1", port))
        answers = []
        try:
            while True:
                answers.append(sock.recv(65535))
        except TimeoutError:
            return answers
