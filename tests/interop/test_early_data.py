"""Sessions that a client we did not write resumes, what it sends in 0-RTT, and what
becomes of that when somebody who saw it sends it again."""

import asyncio
import json
import socket
from contextlib import asynccontextmanager

import pytest
from aioquic.quic.configuration import QuicConfiguration
from aioquic.quic.connection import QuicConnection

from client import Client

SECRET = "n7Yx0q1Jz5m8Qk3Tt9Lw2Rb6Vc4Hd0Sf"


class Tap:
    """A transport that keeps what it sends."""

    def __init__(self, transport):
        self.transport = transport
        self.sent: list[bytes] = []

    def sendto(self, data, addr):
        self.sent.append(bytes(data))
        self.transport.sendto(data, addr)

    def close(self):
        self.transport.close()


@asynccontextmanager
async def resume(port: int, ca, ticket=None):
    """A client that has not said anything yet; a request begins with the handshake,
    in 0-RTT if `ticket` allows it."""
    configuration = QuicConfiguration(
        is_client=True,
        alpn_protocols=["h3"],
        server_name="127.0.0.1",
        session_ticket=ticket,
    )
    configuration.load_verify_locations(str(ca))
    tickets = []
    quic = QuicConnection(
        configuration=configuration, session_ticket_handler=tickets.append
    )
    loop = asyncio.get_running_loop()
    transport, client = await loop.create_datagram_endpoint(
        lambda: Client(quic), local_addr=("127.0.0.1", 0)
    )
    client.tap = client._transport = Tap(transport)
    client.tickets = tickets
    client.connect(("127.0.0.1", port), transmit=False)
    try:
        yield client
    finally:
        client.close()
        transport.close()


async def ticket_from(spooky, house):
    """A ticket, from a client's first connection."""
    async with resume(spooky.port, house.certificates.ca) as client:
        assert (await client.get("/bytes/10")).status == 200
        assert not client._quic.tls.session_resumed
        return client.tickets[-1]


async def replay(port: int, flight: list[bytes]) -> int:
    """Sends datagrams again, from another port, and counts what is answered."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(("127.0.0.1", 0))
        sock.setblocking(False)
        for datagram in flight:
            sock.sendto(datagram, ("127.0.0.1", port))
        await asyncio.sleep(0.3)
        answers = 0
        while True:
            try:
                sock.recv(65535)
            except BlockingIOError:
                return answers
            answers += 1


def settings(house, **more):
    file = house.folder / "secret"
    file.write_text(SECRET + "\n")
    access = {"path": str(house.folder / "access.log"), "format": "json"}
    return {"secret": {"file": str(file)}, "log": {"access": access}, **more}


def logged(house, path: str) -> list[dict]:
    lines = (house.folder / "access.log").read_text().splitlines()
    return [line for line in map(json.loads, lines) if line["path"] == path]


def asked(origin, path: str) -> list[dict]:
    return origin.events(event="request", path=path)


async def test_a_session_resumes_also_after_a_restart(house):
    origin = house.origin()
    more = settings(house)
    spooky = house.spooky("daemon", [origin.port], **more)
    ticket = await ticket_from(spooky, house)
    assert spooky.stop() == 0
    again = house.spooky("daemon", [origin.port], **more)
    async with resume(again.port, house.certificates.ca, ticket) as client:
        assert (await client.get("/bytes/10")).status == 200
        assert client._quic.tls.session_resumed


async def test_without_a_secret_a_restart_forgets(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    ticket = await ticket_from(spooky, house)
    async with resume(spooky.port, house.certificates.ca, ticket) as client:
        assert (await client.get("/bytes/10")).status == 200
        assert client._quic.tls.session_resumed
    assert spooky.stop() == 0
    again = house.spooky("daemon", [origin.port])
    async with resume(again.port, house.certificates.ca, ticket) as client:
        assert (await client.get("/bytes/10")).status == 200
        assert not client._quic.tls.session_resumed


async def test_no_tickets_where_they_are_off(house):
    front = house.certificates.front
    tls = {"cert": str(front.cert), "key": str(front.key), "session_tickets": "off"}
    spooky = house.spooky("daemon", [house.origin().port], tls=tls)
    async with resume(spooky.port, house.certificates.ca) as client:
        assert (await client.get("/bytes/10")).status == 200
        await asyncio.sleep(0.2)
        assert client.tickets == []


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_early_data_is_accepted_and_its_replay_reaches_nobody(house, method):
    origin = house.origin()
    more = settings(house)
    spooky = house.spooky("daemon", [origin.port], **more)
    ticket = await ticket_from(spooky, house)
    path = "/echo" if method == "POST" else "/bytes/1000"
    async with resume(spooky.port, house.certificates.ca, ticket) as client:
        body = b"early bird" if method == "POST" else None
        exchange = client.request(method, path, body=body)
        flight = list(client.tap.sent)
        await exchange.ended()
        assert exchange.status == 200
        assert client._quic.tls.session_resumed
        assert client._quic.tls.early_data_accepted
    assert len(asked(origin, path)) == 1
    # Again and again, while the daemon runs (at any of its workers), and after.
    # (The worker that has the connection knows the id, and takes nothing for new.)
    answers = [await replay(spooky.port, flight) for _ in range(8)]
    assert sum(answers) > 0, "the handshake of some is answered"
    assert spooky.stop() == 0
    lines = logged(house, path)
    assert [line["early_data"] for line in lines] == ["held"] * len(lines)
    assert all(line["resumed"] for line in lines)
    assert sum(line["status"] == 200 for line in lines) == 1
    left = [line["reason"] for line in lines if line["status"] != 200]
    assert len(left) > 0, "replays leave a line, too"
    again = house.spooky("daemon", [origin.port], **more)
    assert await replay(again.port, flight) > 0
    assert again.stop() == 0
    assert len(asked(origin, path)) == 1


async def test_early_data_that_is_refused_is_sent_again_by_quic(house):
    front = house.certificates.front
    origin = house.origin()
    more = settings(house)
    spooky = house.spooky("daemon", [origin.port], **more)
    ticket = await ticket_from(spooky, house)
    assert spooky.stop() == 0
    tls = {"cert": str(front.cert), "key": str(front.key), "early_data": "off"}
    again = house.spooky("daemon", [origin.port], tls=tls, **more)
    async with resume(again.port, house.certificates.ca, ticket) as client:
        exchange = await client.get("/bytes/1000")
        assert exchange.status == 200 and len(exchange.body) == 1000
        assert client._quic.tls.session_resumed
        assert not client._quic.tls.early_data_accepted
    assert again.stop() == 0
    [line] = logged(house, "/bytes/1000")
    assert line["early_data"] is None and line["resumed"]
