"""A client that changes its address keeps its connection, whichever worker is told.

Each new address has another hash, by which the kernel picks one of four workers.
"""

import asyncio
import json
import re

import pytest

import pattern
from client import Client, End, connect
from nat import Nat, enlarge, nat

MIB = 1 << 20
SIZE = 50 * MIB
# That the kernel gives all of these to the worker that has the connection happens once
# in 4 ** 8.
MOVES = 8
# Datagrams between them: so many at each address that it was certainly validated, and of
# all addresses together fewer than the download takes.
BETWEEN = 3000


class Moving(Client):
    """A client that goes on at another socket by its own will."""

    # Datagrams since it last did.
    heard = 0

    def datagram_received(self, data, addr):
        self.heard += 1
        super().datagram_received(data, addr)

    def connection_lost(self, exc):
        """Of a socket that was left behind."""

    async def move(self):
        left = self._transport
        transport, _ = await asyncio.get_running_loop().create_datagram_endpoint(
            lambda: _Arrivals(self), local_addr=("127.0.0.1", 0)
        )
        enlarge(transport)
        self._transport, self.heard = transport, 0
        left.close()
        # RFC 9000 section 9.5: not the same id from two addresses.
        self.change_connection_id()


class _Arrivals(asyncio.DatagramProtocol):
    def __init__(self, client: Moving):
        self.client = client

    def datagram_received(self, data, addr):
        self.client.datagram_received(data, addr)


async def settled(end: Moving | Nat, download):
    """Waits until much of the download came to where `end` is now."""
    while end.heard < BETWEEN:
        assert download.end is None
        await asyncio.sleep(0.005)


@pytest.fixture
def spooky(house):
    """Starts a daemon with four workers that tells what it counted."""
    files = house.folder / "files"
    files.mkdir()
    (files / "50MiB.bin").write_bytes(pattern.body(SIZE))
    (files / "small.bin").write_bytes(pattern.body(1000))
    backend = house.caddy(files)
    log = {"level": "debug", "access": {"path": str(house.folder / "access.log")}}

    def start(**settings):
        return house.spooky("daemon", [backend.port], workers=4, log=log, **settings)

    return start


def counted(daemon) -> dict[str, int]:
    """Ends it and gives its counters, without those that are zero."""
    assert daemon.stop() == 0, daemon.stderr[-4000:]
    [line] = re.findall(r"in all: .*", daemon.stderr)
    counts = {name: int(count) for name, count in re.findall(r"(\w+):? (\d+)", line)}
    print(line)
    return {name: count for name, count in counts.items() if count}


def lines(house) -> list[dict]:
    text = (house.folder / "access.log").read_text()
    return [json.loads(line) for line in text.splitlines()]


def check(house, daemon, download):
    """The download is whole, and was one request of one connection."""
    assert (download.end, download.status) == (End.COMPLETE, 200)
    assert download.body == pattern.body(SIZE)
    counts = counted(daemon)
    assert counts["connections_accepted"] == 1
    assert (counts["requests"], counts["requests_complete"]) == (1, 1)
    assert counts["client_moves"] == MOVES
    # Every datagram that came to the wrong worker came to the right one.
    assert 0 < counts["datagrams_misrouted"] == counts["handed_over"]
    # `receive_errors` may be there: the system tells of datagrams to a port that was left.
    for lost in ("handed_over_dropped", "datagrams_refused"):
        assert lost not in counts, counts
    # Nor is a client that moves taken for a stranger.
    assert "stateless_resets_sent" not in counts, counts
    [line] = lines(house)
    assert (line["status"], line["outcome"]) == (200, "complete")
    assert (line["response_bytes"], line["attempts"]) == (SIZE, 1)
    return counts


@pytest.mark.timeout(20)
async def test_a_nat_rebinds_in_the_middle_of_a_download(house, spooky):
    daemon = spooky()
    async with nat(daemon.port) as box:
        async with connect(box.port, house.certificates.ca) as client:
            used = client._quic._peer_cid.cid
            download = client.request("GET", "/50MiB.bin")
            for _ in range(MOVES):
                await settled(box, download)
                await box.rebind()
            await download.ended()
            # It knew of nothing.
            assert client._quic._peer_cid.cid == used
    counts = check(house, daemon, download)
    assert "datagrams_dropped" not in counts, counts


@pytest.mark.timeout(20)
async def test_a_client_moves_in_the_middle_of_a_download(house, spooky):
    daemon = spooky()
    async with house.connect(daemon, protocol=Moving) as client:
        ids = [client._quic._peer_cid.cid]
        download = client.request("GET", "/50MiB.bin")
        for _ in range(MOVES):
            await settled(client, download)
            await client.move()
            ids.append(client._quic._peer_cid.cid)
        await download.ended()
        client._transport.close()
    assert len(set(ids)) == 1 + MOVES
    counts = check(house, daemon, download)
    # aioquic gives the old id up at once. What it sent with it before and another worker
    # reads later is nobody's.
    assert counts.get("datagrams_dropped", 0) < counts["datagrams_received"] / 100


@pytest.mark.timeout(20)
@pytest.mark.parametrize("allowed", [True, False])
async def test_another_ip_address_is_refused_where_migration_is_off(house, spooky, allowed):
    daemon = spooky(quic={"active_migration": allowed})
    async with nat(daemon.port) as box:
        async with connect(box.port, house.certificates.ca) as client:
            assert (await client.get("/small.bin")).status == 200
            await box.rebind()
            assert (await client.get("/small.bin", timeout=5)).status == 200
            await box.rebind("127.0.0.2")
            away = client.request("GET", "/small.bin")
            await asyncio.sleep(1)
            assert (away.end is End.COMPLETE) == allowed
            await box.rebind()
            # What was refused the client sends again.
            await away.ended(timeout=5)
            assert (away.end, away.body) == (End.COMPLETE, pattern.body(1000))
    counts = counted(daemon)
    assert counts["connections_accepted"] == 1
    assert ("client_moves_refused" in counts) != allowed
