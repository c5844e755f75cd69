"""A client that reads slowly holds its sender back, and costs no memory."""

import asyncio
import time

import pytest

import pattern
from client import End, PacedConnection

MIB = 1 << 20
WINDOW = MIB // 4


@pytest.mark.timeout(120)
@pytest.mark.parametrize("kind", ["daemon", "tokio"])
async def test_64_mib_at_4_mib_a_second(house, kind):
    size, rate = 64 * MIB, 4 * MIB
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
