"""Every request ends, and ends as what it was: whole, cut off, or refused with a reason."""

import asyncio
import time

import pytest
from aioquic.h3.connection import ErrorCode

import pattern
from client import End
from processes import Silence, free_port


@pytest.fixture(scope="module")
def origin(shared_house):
    return shared_house.origin()


@pytest.fixture(scope="module", params=["daemon", "tokio"])
def spooky(request, shared_house, origin):
    """A front end before one aioquic backend."""
    return shared_house.spooky(request.param, [origin.port])


@pytest.fixture(params=["daemon", "tokio"])
def kind(request):
    return request.param


async def until(condition, timeout: float = 10):
    """Waits for something that happens in another process."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


# ---- who gives up first ---------------------------------------------------


async def test_cancelled_download_reaches_the_backend(shared_house, origin, spooky):
    path = f"/drip/{500 + len(spooky.kind)}/20"  # a path of its own for each front end
    async with shared_house.connect(spooky) as client:
        exchange = client.request("GET", path)
        await exchange.until(lambda e: len(e.body) > 2000)
        exchange.cancel()
        await until(lambda: origin.events(event="stop", path=path))
        (stop,) = origin.events(event="stop", path=path)
        assert stop["code"] == ErrorCode.H3_REQUEST_CANCELLED
        # The connections on both sides live on.
        assert (await client.get("/bytes/10")).body == pattern.body(10)


async def test_cancelled_upload_reaches_the_backend_as_a_reset(
    shared_house, origin, spooky
):
    asked = len(origin.events(event="request", path="/sink"))
    resets = len(origin.events(event="reset", path="/sink"))
    async with shared_house.connect(spooky) as client:
        exchange = client.request(
            "POST", "/sink", headers={"content-length": "1000000"}, end=False
        )
        exchange.send(b"x" * 100_000)
        await until(lambda: len(origin.events(event="request", path="/sink")) > asked)
        exchange.cancel()
        await until(lambda: len(origin.events(event="reset", path="/sink")) > resets)
        reset = origin.events(event="reset", path="/sink")[-1]
        assert reset["code"] == ErrorCode.H3_REQUEST_CANCELLED
        assert (await client.get("/bytes/10")).body == pattern.body(10)


async def test_lost_client_reaches_the_backend(shared_house, origin, spooky):
    path = f"/drip/{600 + len(spooky.kind)}/20"
    async with shared_house.connect(spooky) as client:
        exchange = client.request("GET", path)
        await exchange.until(lambda e: len(e.body) > 2000)
    # Leaving the block closed the connection.
    await until(lambda: origin.events(event="stop", path=path))


@pytest.mark.parametrize("size", [100, 100_000])
async def test_reset_of_the_backend_reaches_the_client(shared_house, spooky, size):
    async with shared_house.connect(spooky) as client:
        response = await client.get(f"/reset/{size}")
        assert response.end == End.RESET
        assert response.status == 200
        # What arrived is a true beginning.
        assert response.body == pattern.body(len(response.body))
        assert (await client.get("/bytes/10")).body == pattern.body(10)


async def test_reset_before_any_response_is_a_502(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        response = await client.get("/refuse")
    assert (response.end, response.status) == (End.COMPLETE, 502)
    assert "http_response_incomplete" in response.headers["proxy-status"]


async def test_body_shorter_than_declared_never_ends_clean(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        response = await client.get("/short/100000")
    assert response.end == End.RESET


async def test_backend_that_hangs_up_mid_body_is_a_reset(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        response = await client.get("/hang-up/100000")
        assert response.end == End.RESET
        # The next request gets a new connection to the backend.
        assert (await client.get("/bytes/10")).body == pattern.body(10)


async def test_goaway_of_the_backend_costs_no_request(shared_house, spooky):
    async with shared_house.connect(spooky) as client:
        for _ in range(5):
            assert (await client.get("/goaway")).body == b"bye\n"
            # Time for the GOAWAY, which comes behind the answer.
            await asyncio.sleep(0.1)
            assert (await client.get("/bytes/10")).body == pattern.body(10)


# ---- no answer to be had --------------------------------------------------


async def refusal(house, spooky, path: str = "/", timeout: float = 20):
    async with house.connect(spooky) as client:
        response = await client.get(path, timeout=timeout)
    assert response.end == End.COMPLETE
    assert response.headers["proxy-status"].startswith("spooky;")
    return response


async def test_nobody_listens_503(house, kind):
    spooky = house.spooky(kind, [free_port()])
    response = await refusal(house, spooky)
    assert response.status == 503
    assert "error=connection_refused" in response.headers["proxy-status"]


async def test_silent_port_504(house, kind):
    silence = Silence()
    spooky = house.spooky(kind, [silence.port], timeouts={"connect": "1s"})
    began = time.monotonic()
    response = await refusal(house, spooky)
    silence.close()
    assert response.status == 504
    assert "error=connection_timeout" in response.headers["proxy-status"]
    assert 0.8 < time.monotonic() - began < 4


async def test_no_response_head_504(house, kind):
    origin = house.origin()
    spooky = house.spooky(kind, [origin.port], timeouts={"response_header": "1s"})
    response = await refusal(house, spooky, "/never")
    assert response.status == 504
    assert "error=http_response_timeout" in response.headers["proxy-status"]
    await until(lambda: origin.events(event="stop", path="/never"))


async def test_untrusted_certificate_502_says_what_to_set(house, kind, certificates):
    origin = house.origin(identity=certificates.stranger)
    response = await refusal(house, house.spooky(kind, [origin.port]))
    assert response.status == 502
    assert "error=tls_certificate_error" in response.headers["proxy-status"]
    assert "backend_tls" in response.headers["proxy-status"]


async def test_verify_false_accepts_any_certificate(house, kind, certificates):
    origin = house.origin(identity=certificates.stranger)
    spooky = house.spooky(kind, [origin.port], backend_tls={"verify": False})
    async with house.connect(spooky) as client:
        response = await client.get("/bytes/10")
    assert (response.status, response.body) == (200, pattern.body(10))


# ---- a backend dies -------------------------------------------------------


@pytest.mark.timeout(120)
async def test_backend_killed_amid_200_requests(house, kind):
    doomed, survivor = house.origin("doomed"), house.origin("survivor")
    spooky = house.spooky(
        kind,
        [doomed.port, survivor.port],
        timeouts={"connect": "2s", "response_header": "5s"},
        quic={"idle_timeout": "5s"},
    )
    body = pattern.body(60_000)
    async with house.connect(spooky) as a, house.connect(spooky) as b:
        requests = [c.request("GET", "/drip/60/20") for _ in range(50) for c in (a, b)]
        requests += [c.request("GET", "/slow/800") for _ in range(50) for c in (a, b)]
        await until(lambda: len(doomed.events(event="request")) > 20)
        await asyncio.sleep(0.3)
        doomed.kill()
        # None hangs: `ended` gives up after 30 seconds, and the test fails.
        ends = await asyncio.gather(*(r.ended(30) for r in requests))
        whole = [r for r in ends if r.end == End.COMPLETE and r.status == 200]
        refused = [r for r in ends if r.end == End.COMPLETE and r.status != 200]
        cut = [r for r in ends if r.end != End.COMPLETE]
        assert all(bytes(r.body) in (body, b"slow\n") for r in whole)
        assert all(500 <= r.status <= 504 for r in refused)
        assert all(r.end == End.RESET for r in cut)
        # The kill came in their midst.
        assert refused or cut
        assert any(r.headers["x-backend"] == "survivor" for r in whole)

        after = await asyncio.gather(*(a.get("/bytes/100") for _ in range(40)))
        assert {r.headers.get("x-backend") for r in after} == {"survivor"}
        assert {(r.end, r.status) for r in after} == {(End.COMPLETE, 200)}
