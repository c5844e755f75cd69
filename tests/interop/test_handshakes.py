"""Handshakes and their aftermath with a client that we did not write, on aioquic."""

import asyncio
import datetime
from pathlib import Path

import pytest
from aioquic import tls
from aioquic.buffer import encode_uint_var
from aioquic.quic.connection import QuicConnection
from aioquic.quic.events import ConnectionTerminated, ProtocolNegotiated
from aioquic.quic.packet import QuicFrameType
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.serialization import Encoding

import pattern
from client import End, connect
from tap import tap

CIPHERS = [
    tls.CipherSuite.AES_128_GCM_SHA256,
    tls.CipherSuite.AES_256_GCM_SHA384,
    tls.CipherSuite.CHACHA20_POLY1305_SHA256,
]
GROUPS = [tls.Group.X25519, tls.Group.SECP256R1]


def with_group(group):
    """A connection that offers one way to agree on a key."""

    class OneGroup(QuicConnection):
        def _initialize(self, peer_cid):
            super()._initialize(peer_cid)
            self.tls._supported_groups = [group]

    return OneGroup


@pytest.mark.parametrize("cipher", CIPHERS, ids=lambda c: c.name)
@pytest.mark.parametrize("group", GROUPS, ids=lambda g: g.name)
async def test_every_cipher_and_group_carries_a_transfer(house, cipher, group):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    kind = with_group(group)
    async with house.connect(spooky, kind=kind, cipher_suites=[cipher]) as client:
        response = await client.post("/echo", pattern.body(200_000))
        assert (response.status, response.end) == (200, End.COMPLETE)
        assert response.body == pattern.body(200_000)
        assert client._quic.tls.key_schedule.cipher_suite == cipher


async def test_keys_change_in_the_middle_of_a_download(house):
    """RFC 9001 section 6: either side may, once the handshake is confirmed."""
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    size = 8 << 20
    async with house.connect(spooky) as client:
        exchange = client.request("GET", f"/bytes/{size}")
        quic = client._quic
        pair = quic._cryptos[tls.Epoch.ONE_RTT]
        for part in range(1, 5):
            await exchange.until(lambda e: len(e.body) > part * size // 6)
            assert exchange.end is None, "the download was to go on"
            before = pair.recv.key_phase
            quic.request_key_update()
            client.transmit()
            # What the server sends from now on is under its new keys as well.
            for _ in range(200):
                if pair.recv.key_phase != before:
                    break
                await asyncio.sleep(0.01)
            assert pair.recv.key_phase != before
        await exchange.ended(30)
        assert (exchange.end, exchange.body) == (End.COMPLETE, pattern.body(size))
        assert (await client.get("/bytes/10")).status == 200


class OtherProtocol(QuicConnection):
    """Speaks something else than HTTP/3."""

    def _initialize(self, peer_cid):
        self._configuration.alpn_protocols = ["hq-interop"]
        super()._initialize(peer_cid)


async def test_a_client_of_another_protocol_is_told(house):
    """RFC 7301: no_application_protocol, 120; RFC 9001 section 4.8: 0x100 more."""
    spooky = house.spooky("daemon", [house.origin().port])
    told: list[ConnectionTerminated] = []

    class Watching(OtherProtocol):
        def next_event(self):
            event = super().next_event()
            assert not isinstance(event, ProtocolNegotiated)
            if isinstance(event, ConnectionTerminated):
                told.append(event)
            return event

    with pytest.raises(ConnectionError):
        async with house.connect(spooky, kind=Watching):
            pass
    assert [event.error_code for event in told] == [0x100 + 120]
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


class Heavy:
    """A chain of `count` certificates between a root and a leaf, each of some 3 KB."""

    def __init__(self, folder: Path, authority, leaf, count: int):
        self.cert = folder / "heavy.pem"
        padding = x509.UnrecognizedExtension(
            x509.ObjectIdentifier("1.3.6.1.4.1.55555.1"), b"\x04\x82\x0b\xb8" + bytes(3000)
        )
        # Unused by who verifies the leaf, and sent all the same.
        extra = b""
        for number in range(count):
            name = f"extra-{number}"
            identity = authority.issue(name)
            own = x509.load_pem_x509_certificate(identity.cert.read_bytes())
            now = datetime.datetime.now(datetime.timezone.utc)
            built = (
                x509.CertificateBuilder()
                .subject_name(own.subject)
                .issuer_name(authority.name)
                .public_key(own.public_key())
                .serial_number(own.serial_number)
                .not_valid_before(now - datetime.timedelta(hours=1))
                .not_valid_after(now + datetime.timedelta(days=7))
                .add_extension(padding, critical=False)
                .sign(authority.key, hashes.SHA256())
            )
            extra += built.public_bytes(Encoding.PEM)
        self.cert.write_bytes(leaf.cert.read_bytes() + extra)
        self.key = leaf.key


async def test_a_large_chain_of_certificates_arrives_within_the_amplification_limit(
    house, certificates
):
    """RFC 9000 section 8.1: before its address is known, three times what it sent."""
    heavy = Heavy(house.folder, certificates.authority, certificates.front, 4)
    identity = {"cert": str(heavy.cert), "key": str(heavy.key)}
    spooky = house.spooky("daemon", [house.origin().port], tls=identity)
    async with tap(spooky.port) as recorder:
        async with connect(recorder.port, certificates.ca) as client:
            assert (await client.get("/bytes/10")).status == 200
        flow = recorder.flow
    sent = sum(len(data) for inward, data in flow if not inward)
    assert sent > 12_000, "the chain is not large"
    # Packets of the client's Handshake keys prove its address.
    proved = next(i for i, (inward, data) in enumerate(flow) if inward and has_handshake(data))
    came = went = 0
    for inward, data in flow[:proved]:
        came, went = (came + len(data), went) if inward else (came, went + len(data))
        assert went <= 3 * came, (went, came)


def has_handshake(datagram: bytes) -> bool:
    """Whether one of the coalesced packets is a Handshake packet (RFC 9000 section 17.2)."""
    at = 0
    while at < len(datagram) and datagram[at] & 0x80:
        kind = (datagram[at] & 0x30) >> 4
        if kind == 2:
            return True
        at += 5
        at += 1 + datagram[at]
        at += 1 + datagram[at]
        if kind == 0:
            token, at = varint(datagram, at)
            at += token
        length, at = varint(datagram, at)
        at += length
    return False


def varint(data: bytes, at: int) -> tuple[int, int]:
    size = 1 << (data[at] >> 6)
    value = int.from_bytes(data[at : at + size], "big") & ((1 << (8 * size - 2)) - 1)
    return value, at + size


class SmallDatagrams(QuicConnection):
    """Takes datagrams of 1200 bytes, says so (RFC 9000 section 18.2), and means it."""

    most = 1200

    def _serialize_transport_parameters(self):
        said = encode_uint_var(self.most)
        parameter = encode_uint_var(0x03) + encode_uint_var(len(said)) + said
        return super()._serialize_transport_parameters() + parameter

    def receive_datagram(self, data, *arguments, **more):
        if len(data) <= self.most:
            super().receive_datagram(data, *arguments, **more)


async def test_a_client_that_takes_only_small_datagrams_is_served(house, certificates):
    """quiche's path MTU discovery does not look at what the client said, so there are a
    few larger ones: probes, whose loss tells it, and which carry nothing."""
    spooky = house.spooky("daemon", [house.origin().port])
    async with tap(spooky.port) as recorder:
        async with connect(recorder.port, certificates.ca, kind=SmallDatagrams) as client:
            response = await client.get("/bytes/500000")
            assert (response.end, len(response.body)) == (End.COMPLETE, 500_000)
        sizes = [len(data) for inward, data in recorder.flow if not inward]
    larger = [size for size in sizes if size > 1200]
    assert len(sizes) > 400 and len(larger) < 15, larger


async def test_pings_keep_a_connection_that_would_go_idle(house):
    spooky = house.spooky("daemon", [house.origin().port], quic={"idle_timeout": "1s"})
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200
        for _ in range(8):
            await asyncio.wait_for(client.ping(), 2)
            await asyncio.sleep(0.4)
        assert client.terminated is None
        assert (await client.get("/bytes/10")).status == 200
        # And without them it does: both sides keep to the smaller of their timeouts.
        await asyncio.sleep(2.5)
        assert client.terminated is not None
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


# RFC 9114 section 7.2.8 and 6.2.3: kinds that mean nothing, for whoever forgets to skip.
RESERVED = [0x21, 0x1F * 5 + 0x21, 0x1F * 1000 + 0x21]


async def test_what_is_reserved_means_nothing(house):
    spooky = house.spooky("daemon", [house.origin().port])
    async with house.connect(spooky, quantum_readiness_test=True) as client:
        for kind in RESERVED:
            frame = encode_uint_var(kind) + encode_uint_var(5) + b"hello"
            client._quic.send_stream_data(client.http._local_control_stream_id, frame)
            stream = client._quic.get_next_available_stream_id(is_unidirectional=True)
            client._quic.send_stream_data(stream, encode_uint_var(kind) + b"anything")
            exchange = client.request("POST", "/echo", end=False)
            client._quic.send_stream_data(exchange.stream_id, frame)
            exchange.send(b"body", end=True)
            await exchange.ended()
            assert (exchange.end, exchange.body) == (End.COMPLETE, b"body")


async def test_a_frame_that_no_client_sends_closes_with_its_code(house):
    """RFC 9000 section 19.20: HANDSHAKE_DONE is a server's; PROTOCOL_VIOLATION."""
    spooky = house.spooky("daemon", [house.origin().port])

    class Confused(QuicConnection):
        confused = False

        def _write_ping_frame(self, builder, *arguments, **more):
            if self.confused:
                builder.start_frame(QuicFrameType.HANDSHAKE_DONE)
            super()._write_ping_frame(builder, *arguments, **more)

    async with house.connect(spooky, kind=Confused) as client:
        assert (await client.get("/bytes/10")).status == 200
        client._quic.confused = True
        client._quic.send_ping(1)
        client.transmit()
        for _ in range(100):
            if client.terminated:
                break
            await asyncio.sleep(0.02)
        # PROTOCOL_VIOLATION, and a code of the transport.
        assert client.terminated.error_code == 0x0A
        assert client.terminated.frame_type is not None
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200
