"""Caddy (quic-go) as the backend: two implementations agree less on each other's faults."""

import asyncio

import pytest

import pattern
from client import End

MIB = 1 << 20


@pytest.fixture(scope="module", params=["direct", "daemon", "tokio"])
def server(request, shared_house):
    """Something to connect to that leads to Caddy and its files."""
    files = shared_house.folder / "files"
    if not files.exists():
        files.mkdir()
        for size in (0, 1, 65_537, MIB, 16 * MIB):
            (files / f"{size}.bin").write_bytes(pattern.body(size))
    caddy = shared_house.caddy(files)
    if request.param == "direct":
        return caddy
    return shared_house.spooky(request.param, [caddy.port])


@pytest.mark.parametrize("size", [0, 1, 65_537, MIB, 16 * MIB])
async def test_file_arrives_whole(shared_house, server, size):
    async with shared_house.connect(server) as client:
        response = await client.get(f"/{size}.bin")
    assert (response.end, response.status) == (End.COMPLETE, 200)
    assert response.headers["server"] == "Caddy"
    assert pattern.digest(response.body) == pattern.digest(pattern.body(size))


async def test_range_arrives(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get(
            f"/{MIB}.bin", headers={"range": "bytes=1000-1999"}
        )
    assert (response.end, response.status) == (End.COMPLETE, 206)
    assert response.body == pattern.body(2000)[1000:]


async def test_missing_file_is_caddys_404(shared_house, server):
    async with shared_house.connect(server) as client:
        response = await client.get("/missing")
    assert (response.end, response.status) == (End.COMPLETE, 404)
    assert "proxy-status" not in response.headers


async def test_hundred_files_at_once(shared_house, server):
    async with shared_house.connect(server) as client:
        responses = await asyncio.gather(
            *(client.get("/65537.bin") for _ in range(100))
        )
    assert {(r.end, r.status) for r in responses} == {(End.COMPLETE, 200)}
    assert all(r.body == pattern.body(65_537) for r in responses)


async def test_unwanted_upload_does_no_harm(shared_house, server):
    """Caddy answers 405 without reading the body, and stops it."""
    async with shared_house.connect(server) as client:
        response = await client.post("/1.bin", pattern.body(4 * MIB))
        assert response.status == 405
        assert (await client.get("/1.bin")).body == pattern.body(1)
