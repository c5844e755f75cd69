"""Requests and responses of every size arrive whole, both ways.

Each case runs three times: straight to the backend, which shows that our peers
agree with each other, then through the daemon and through the tokio adapter.
"""

import asyncio
import json
import sys

import pytest

import pattern
from client import End

MIB = 1 << 20
# The aioquic that runs on Python 3.10 cannot encode so much.
LARGE_HEAD = pytest.mark.skipif(
    sys.version_info < (3, 11), reason="aioquic 1.3 cannot encode large heads"
)
SIZES = [0, 1, 1199, 16_384, 65_537, MIB]


@pytest.fixture(scope="module", params=["direct", "daemon", "tokio"])
def server(request, shared_house):
    """Something to connect to that leads to an aioquic backend."""
    origin = shared_house.origin(f"{request.param}-origin")
    if request.param == "direct":
        return origin
    return shared_house.spooky(
        request.param, [origin.port], limits={"header_bytes": "40KiB"}
    )


@pytest.mark.parametrize("size", SIZES)
async def test_get_brings_the_body(shared_house, server, size):
    async with shared_house.connect(server) as client:
        response = await client.get(f"/bytes/{size}")
    assert (response.end, response.status) == (End.COMPLETE, 200)
    assert response.headers["content-length"] == str(size)
    assert response.body == pattern.body(size)


async def test_get_brings_a_body_of_undeclared_length(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get(f"/stream/{MIB + 1}")
    assert (response.end, response.status) == (End.COMPLETE, 200)
    assert response.body == pattern.body(MIB + 1)


@pytest.mark.parametrize("size", SIZES)
async def test_post_carries_the_body_and_brings_it_back(shared_house, server, size):
    body = pattern.body(size)
    async with shared_house.connect(server) as client:
        response = await client.post("/echo", body)
    assert (response.end, response.status) == (End.COMPLETE, 200)
    assert response.body == body


@pytest.mark.timeout(240)
async def test_get_64_mib(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get(f"/bytes/{64 * MIB}", timeout=240)
    assert (response.end, response.status) == (End.COMPLETE, 200)
    assert pattern.digest(response.body) == pattern.digest(pattern.body(64 * MIB))


@pytest.mark.timeout(240)
async def test_post_64_mib(shared_house, server):
    body = pattern.body(64 * MIB)
    async with shared_house.connect(server) as client:
        response = await client.post("/sink", body, timeout=240)
    assert (response.end, response.status) == (End.COMPLETE, 200)
    seen = json.loads(response.body)
    assert (seen["bytes"], seen["sha256"]) == (len(body), pattern.digest(body))


async def test_hundred_streams_on_one_connection(shared_house, server):
    async with shared_house.connect(server) as client:
        responses = await asyncio.gather(
            *(client.get(f"/bytes/{20_000 + n}") for n in range(100))
        )
    for n, response in enumerate(responses):
        assert (response.end, response.status) == (End.COMPLETE, 200)
        assert response.body == pattern.body(20_000 + n)


@pytest.mark.timeout(120)
async def test_fifty_connections_at_once(shared_house, server):
    async def one(n: int):
        async with shared_house.connect(server) as client:
            return await asyncio.gather(
                client.get(f"/bytes/{1000 * n}"),
                client.post("/echo", pattern.body(777 * n)),
            )

    for n, (got, echoed) in enumerate(await asyncio.gather(*map(one, range(50)))):
        assert (got.end, got.status) == (End.COMPLETE, 200)
        assert got.body == pattern.body(1000 * n)
        assert (echoed.end, echoed.status) == (End.COMPLETE, 200)
        assert echoed.body == pattern.body(777 * n)


async def test_fifty_small_requests_do_not_wait_for_a_download(shared_house, server):
    async with shared_house.connect(server) as client:
        download = client.request("GET", f"/bytes/{64 * MIB}")
        await download.until(lambda d: len(d.body) > 0)
        small = await asyncio.gather(
            *(client.get("/bytes/100", timeout=20) for _ in range(50))
        )
        assert download.end is None
        assert len(download.body) < 32 * MIB
        download.cancel()
    assert [bytes(s.body) for s in small] == [pattern.body(100)] * 50


async def test_trailers_of_the_response_arrive(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get("/trailers/100000")
    assert response.end == End.COMPLETE
    digest = pattern.digest(pattern.body(100_000))
    assert response.trailers == {"x-sha256": digest, "x-last": "yes"}


async def test_trailers_of_the_request_arrive(shared_house, server):
    trailers = {"x-checksum": "abc", "x-more": "1"}
    async with shared_house.connect(server) as client:
        response = await client.post(
            "/sink", b"body", headers={}, trailers=trailers
        )
    assert response.end == End.COMPLETE
    seen = json.loads(response.body)
    assert dict(seen["trailers"]) == trailers
    assert seen["bytes"] == 4


async def test_trailers_travel_both_ways_at_once(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.post(
            "/echo", b"x" * 5000, headers={}, trailers={"x-there": "and back"}
        )
    assert (response.end, response.body) == (End.COMPLETE, b"x" * 5000)
    assert response.trailers == {"x-there": "and back"}


async def test_request_body_flows_while_the_response_does(shared_house, server):
    async with shared_house.connect(server) as client:
        exchange = client.request("POST", "/echo", end=False)
        for n in range(1, 6):
            exchange.send(b"%05d" % n)
            await exchange.until(lambda e: len(e.body) == 5 * n)
        exchange.send(b"", end=True)
        await exchange.ended()
    assert exchange.end == End.COMPLETE
    assert exchange.body == b"0000100002000030000400005"


@LARGE_HEAD
async def test_32_kib_of_response_head_arrive(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get(f"/head/{32 * 1024}")
    assert (response.end, response.status) == (End.COMPLETE, 200)
    filled = [v for k, v in response.headers.items() if k.startswith("x-fill-")]
    assert filled == ["v" * 1024] * 32


@LARGE_HEAD
async def test_32_kib_of_request_head_arrive(shared_house, server):
    fields = {f"x-fill-{n:02}": "r" * 1024 for n in range(32)}
    async with shared_house.connect(server) as client:
        response = await client.get("/sink", headers=fields)
    assert (response.end, response.status) == (End.COMPLETE, 200)
    seen = dict(json.loads(response.body)["headers"])
    assert {k: v for k, v in seen.items() if k.startswith("x-fill-")} == fields


async def test_404_of_the_backend_passes_through(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get("/status/404")
    assert (response.end, response.status) == (End.COMPLETE, 404)
    assert response.body == b"status 404\n"
    assert "proxy-status" not in response.headers


async def test_head_has_no_body(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.request("HEAD", "/bytes/5000").ended()
    assert (response.end, response.status) == (End.COMPLETE, 200)
    assert response.body == b""


async def test_blocking_loop_carries_requests(house):
    """The smallest embedder, one UDP loop on std alone: that it works at all."""
    origin = house.origin()
    blocking = house.spooky("blocking", [origin.port], workers=1)
    async with house.connect(blocking) as client:
        got = await client.get("/bytes/100000")
        echoed = await client.post("/echo", pattern.body(100_000))
    assert (got.end, got.body) == (End.COMPLETE, pattern.body(100_000))
    assert (echoed.end, echoed.body) == (End.COMPLETE, pattern.body(100_000))
