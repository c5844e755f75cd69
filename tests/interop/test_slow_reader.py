"""A client that reads slowly holds its sender back, and costs no memory."""

import asyncio
import os
import time

import pytest

import pattern
from client import End, PacedConnection

MIB = 1 << 20
WINDOW = MIB // 4


# The long version: SPOOKY_SLOW_MIB=1024 SPOOKY_SLOW_RATE=1 (MiB, and MiB a second).
SLOW_MIB = int(os.environ.get("SPOOKY_SLOW_MIB", "64"))
SLOW_RATE = int(os.environ.get("SPOOKY_SLOW_RATE", "4"))


@pytest.mark.timeout(100 + 2 * SLOW_MIB // SLOW_RATE)
@pytest.mark.parametrize("kind", ["daemon", "tokio"])
async def test_a_slow_reader_costs_no_memory(house, kind):
    size, rate = SLOW_MIB * MIB, SLOW_RATE * MIB
    origin = house.origin()
    spooky = house.spooky(kind, [origin.port])
    async with house.connect(spooky) as client:
        # The first connections and threads are not the reader's doing.
        assert (await client.get(f"/bytes/{MIB}")).end == End.COMPLETE
    before = spooky.resident()

    peak = 0
    slow = {"kind": PacedConnection, "max_stream_data": WINDOW, "max_data": 2 * size}
    async with house.connect(spooky, **slow) as client:
        began = time.monotonic()
        exchange = client.request("GET", f"/bytes/{size}")
        while exchange.end is None:
            allowed = int((time.monotonic() - began) * rate) + WINDOW
            client._quic.grant(exchange.stream_id, allowed)
            client.transmit()
            peak = max(peak, spooky.resident())
            assert len(exchange.body) <= allowed
            await asyncio.sleep(0.02)
        took = time.monotonic() - began

    assert (exchange.end, exchange.status) == (End.COMPLETE, 200)
    assert pattern.digest(exchange.body) == pattern.digest(pattern.body(size))
    assert took > size / rate - 1, "it was not slow"
    grown = (peak - before) / MIB
    print(f"{kind}: resident memory grew by {grown:.1f} MiB in {took:.1f} s")
    assert grown < 8


STALLED = 99


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["direct", "daemon", "tokio"])
@pytest.mark.parametrize("together", [True, False], ids=["together", "apart"])
async def test_stalled_downloads_do_not_hold_up_another(house, kind, together):
    """99 downloads get no credit after their first window, on the connection of the
    one that does, or on another that shares with it what leads to the backend."""
    # More than Spooky takes of one stream (256 KiB), so its windows are full as well.
    window, size, large = 64 << 10, MIB // 2, 4 * MIB
    origin = house.origin()
    server = origin if kind == "direct" else house.spooky(kind, [origin.port])
    paced = {"kind": PacedConnection, "max_stream_data": window, "max_data": 256 * MIB}
    async with house.connect(server, **paced) as stuck, house.connect(
        server, **paced
    ) as other:
        stalled = [stuck.request("GET", f"/bytes/{size}") for _ in range(STALLED)]
        await asyncio.gather(
            # All of the window but the head and the framing.
            *(s.until(lambda s: len(s.body) > window - 2000) for s in stalled)
        )
        client = stuck if together else other
        live = client.request("GET", f"/bytes/{large}")
        client._quic.grant(live.stream_id, 2 * large)
        client.transmit()
        await live.ended(30)
        assert (live.end, live.body) == (End.COMPLETE, pattern.body(large))
        # The stalled ones stood still meanwhile, and are not lost.
        assert all(s.end is None and len(s.body) <= window for s in stalled)
        # Three go on to their end; the others are given up.
        finishing, abandoned = stalled[::33], [s for n, s in enumerate(stalled) if n % 33]
        for s in abandoned:
            s.cancel()
        for s in finishing:
            stuck._quic.grant(s.stream_id, 2 * size)
        stuck.transmit()
        await asyncio.gather(*(s.ended(30) for s in finishing))
        assert (await stuck.get("/bytes/10")).body == pattern.body(10)
    assert {s.end for s in finishing} == {End.COMPLETE}
    assert all(s.body == pattern.body(size) for s in finishing)
