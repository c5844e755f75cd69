"""What the daemon makes of malformed and of ordinary messages, by clients and a
backend that we did not write.

Whatever aioquic would not send goes past its HTTP/3, byte by byte. That a refused
request never arrived is what the backend's own log says.
"""

import asyncio
import json
import time

import pytest
from aioquic.h3.connection import ErrorCode
from curl_cffi import Curl, CurlHttpVersion, CurlInfo, CurlOpt

import frames
import pattern
from client import End
from frames import data, fresh, headers, request, response, told


@pytest.fixture(scope="module")
def origin(shared_house):
    return shared_house.origin()


@pytest.fixture(scope="module")
def spooky(shared_house, origin):
    return shared_house.spooky("daemon", [origin.port])


async def until(condition, timeout: float = 10):
    """Waits for something that happens in another process."""
    deadline = time.monotonic() + timeout
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def lives(client):
    """The connection serves the next request."""
    got = await client.get("/bytes/100")
    assert (got.status, bytes(got.body)) == (200, pattern.body(100))


# ---- requests that are refused ---------------------------------------------


def without(fields, name):
    return [field for field in fields if field[0] != name]


REFUSED = {
    "upper case": lambda p: request("GET", p, ("Accept", "*/*")),
    "a space in a name": lambda p: request("GET", p, ("a b", "x")),
    "a colon in a name": lambda p: request("GET", p, ("a:b", "x")),
    "an empty name": lambda p: request("GET", p, ("", "x")),
    "CR and LF": lambda p: request("GET", p, ("x", "a\r\nhost: evil")),
    "NUL": lambda p: request("GET", p, ("x", "a\0b")),
    "a space around a value": lambda p: request("GET", p, ("x", " a")),
    "connection": lambda p: request("GET", p, ("connection", "close")),
    "transfer-encoding": lambda p: request("POST", p, ("transfer-encoding", "chunked")),
    "upgrade": lambda p: request("GET", p, ("upgrade", "h2c")),
    "te: gzip": lambda p: request("GET", p, ("te", "gzip")),
    "another host": lambda p: request("GET", p, ("host", "other.test")),
    "two lengths": lambda p: request("POST", p, ("content-length", "0"), ("content-length", "1")),
    "a signed length": lambda p: request("POST", p, ("content-length", "+1")),
    "a length and no body": lambda p: request("POST", p, ("content-length", "5")),
    "no method": lambda p: without(request("GET", p), ":method"),
    "no scheme": lambda p: without(request("GET", p), ":scheme"),
    "no authority": lambda p: without(request("GET", p), ":authority"),
    "a status": lambda p: [(":status", "200"), *request("GET", p)],
    "a path twice": lambda p: [(":path", "/"), *request("GET", p)],
    "a pseudo-header field last": lambda p: request("GET", p, ("x", "y"), (":path", "/")),
    "a method with a space": lambda p: request("GET /", p),
    "a fragment": lambda p: request("GET", f"{p}#x"),
    "a space in the path": lambda p: request("GET", f"{p} HTTP/1.1"),
    "a path that is not one": lambda p: request("GET", p.lstrip("/")),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_malformed_request_is_a_400_and_never_arrives(
    shared_house, origin, spooky, name
):
    path = f"/sink/refused/{fresh()}"
    before = len(origin.events(event="request"))
    async with shared_house.connect(spooky) as client:
        refused = await client.raw(headers(*REFUSED[name](path))).ended()
        assert (refused.end, refused.status) == (End.COMPLETE, 400)
        assert refused.headers["proxy-status"].startswith(
            "spooky; error=http_request_error"
        )
        assert len(origin.events(event="request")) == before
        await lives(client)


@pytest.mark.parametrize("bad", [(":status", "200"), ("connection", "x"), ("A", "b")])
async def test_malformed_trailers_never_end_a_request_clean(
    shared_house, origin, spooky, bad
):
    path = f"/sink/{fresh()}"
    async with shared_house.connect(spooky) as client:
        message = headers(*request("POST", path)) + data(b"body") + headers(bad)
        refused = await client.raw(message).ended()
        assert (refused.end, refused.status) == (End.COMPLETE, 400)
        await lives(client)
    # Whatever of it arrived was taken back.
    count = lambda event: len(origin.events(event=event, path=path))
    await until(lambda: count("reset") == count("request"))


async def test_431_whatever_the_size_and_the_connection_lives_on(
    shared_house, origin, spooky
):
    before = len(origin.events(event="request"))
    async with shared_house.connect(spooky) as client:
        for size in (33 << 10, 200 << 10):
            large = request("GET", "/large", ("x-fill", "v" * size))
            refused = await client.raw(headers(*large)).ended()
            assert (refused.end, refused.status) == (End.COMPLETE, 431)
        many = [(f"x-{n}", "v") for n in range(500)]
        refused = await client.raw(headers(*request("GET", "/many", *many))).ended()
        assert (refused.end, refused.status) == (End.COMPLETE, 431)
        assert len(origin.events(event="request")) == before
        await lives(client)


POST = headers(*request("POST", "/sink"))

CLOSED = {
    "DATA first": (data(b"x"), ErrorCode.H3_FRAME_UNEXPECTED),
    "DATA after trailers": (
        POST + data(b"x") + headers(("x", "y")) + data(b"y"),
        ErrorCode.H3_FRAME_UNEXPECTED,
    ),
    "SETTINGS": (POST + frames.frame(frames.SETTINGS, b""), ErrorCode.H3_FRAME_UNEXPECTED),
    "PING of HTTP/2": (POST + frames.frame(0x6, b"12345678"), ErrorCode.H3_FRAME_UNEXPECTED),
    "HEADERS cut": (POST[:-4], ErrorCode.H3_FRAME_ERROR),
    "DATA cut": (POST + frames.frame(frames.DATA, b"some", 100), ErrorCode.H3_FRAME_ERROR),
    "half a frame's type": (POST + b"\x40", ErrorCode.H3_FRAME_ERROR),
    "a dynamic entry": (
        frames.frame(frames.HEADERS, b"\0\0\x80"),
        ErrorCode.QPACK_DECOMPRESSION_FAILED,
    ),
    "a section of no bytes": (
        frames.frame(frames.HEADERS, b""),
        ErrorCode.QPACK_DECOMPRESSION_FAILED,
    ),
}


@pytest.mark.parametrize("name", CLOSED)
async def test_broken_framing_closes_the_connection(shared_house, spooky, name):
    coded, code = CLOSED[name]
    async with shared_house.connect(spooky) as client:
        lost = await client.raw(coded).ended()
        assert lost.end in (End.LOST, End.RESET)
        await until(lambda: client.terminated is not None)
        assert client.terminated.error_code == code
    # Only that client's.
    async with shared_house.connect(spooky) as client:
        await lives(client)


async def test_cut_upload_never_ends_clean_at_the_backend(shared_house, origin, spooky):
    path = f"/sink/{fresh()}"
    async with shared_house.connect(spooky) as client:
        start = headers(*request("POST", path)) + data(b"x" * 1000)
        exchange = client.raw(start, end=False)
        await until(lambda: origin.events(event="request", path=path))
        cut = frames.frame(frames.DATA, b"and", 100)
        client._quic.send_stream_data(exchange.stream_id, cut, True)
        client.transmit()
        await until(lambda: origin.events(event="reset", path=path))
        await until(lambda: client.terminated is not None)
        assert client.terminated.error_code == ErrorCode.H3_FRAME_ERROR


# ---- responses that are refused --------------------------------------------

BAD_HEADS = {
    "no status": headers(("server", "x")),
    "two statuses": headers((":status", "200"), (":status", "200")),
    "20": response("20"),
    "99999": response("99999"),
    "101": response("101"),
    "a space in a name": response("200", ("a b", "x")),
    "upper case": response("200", ("Server", "x")),
    "CR and LF": response("200", ("x", "a\r\nset-cookie: b")),
    "connection": response("200", ("connection", "close")),
    "transfer-encoding": response("200", ("transfer-encoding", "chunked")),
    "a path": response("200", (":path", "/")),
    "two lengths": response("200", ("content-length", "1"), ("content-length", "2")),
    "a length and no body": response("200", ("content-length", "5")),
    "an end": b"",
    "DATA first": data(b"body") + response("200"),
    "HEADERS cut": response("200", ("x", "y"))[:-2],
    "a dynamic entry": frames.frame(frames.HEADERS, b"\0\0\x80"),
}


@pytest.mark.parametrize("name", BAD_HEADS)
async def test_malformed_response_is_a_502(shared_house, spooky, name):
    async with shared_house.connect(spooky) as client:
        refused = await client.get(told(BAD_HEADS[name]))
        assert (refused.end, refused.status) == (End.COMPLETE, 502)
        assert refused.headers["proxy-status"].startswith("spooky; error=")
        assert "x" not in refused.headers and "server" not in refused.headers
        await lives(client)


BAD_BODIES = {
    "short": response("200", ("content-length", "10")) + data(b"short"),
    "long": response("200", ("content-length", "2")) + data(b"long"),
    "cut, of known length": response("200", ("content-length", "10"))
    + frames.frame(frames.DATA, b"0123", 10),
    "cut": response("200") + frames.frame(frames.DATA, b"0123", 10),
    "cut where the length ends": response("200", ("content-length", "4"))
    + frames.frame(frames.DATA, b"0123", 10),
    "a pseudo-header field in trailers": response("200")
    + data(b"body")
    + headers((":status", "200")),
    "HEADERS after trailers": response("200")
    + data(b"body")
    + headers(("x", "y"))
    + headers(("x", "y")),
}


@pytest.mark.parametrize("name", BAD_BODIES)
async def test_broken_response_is_never_a_complete_200(shared_house, spooky, name):
    async with shared_house.connect(spooky) as client:
        broken = await client.get(told(BAD_BODIES[name]))
        assert broken.end == End.RESET or broken.status == 502
        await lives(client)


async def test_trailers_lose_what_has_no_place_there(shared_house, spooky):
    trailers = headers(
        ("content-length", "1"),
        ("host", "evil.test"),
        ("authorization", "Basic YTpi"),
        ("x-checksum", "abc"),
    )
    async with shared_house.connect(spooky) as client:
        got = await client.get(told(response("200") + data(b"body") + trailers))
    assert (got.end, got.status, bytes(got.body)) == (End.COMPLETE, 200, b"body")
    # That something was taken away is told (RFC 9209 section 2).
    told_of = got.trailers.pop("proxy-status", "spooky")
    assert told_of.startswith("spooky") and got.trailers == {"x-checksum": "abc"}


async def test_unknown_frames_are_skipped_both_ways(shared_house, spooky):
    grease = frames.frame(frames.GREASE, b"anything")
    path = told(grease + response("200") + grease + data(b"a") + grease + data(b"b"))
    async with shared_house.connect(spooky) as client:
        message = grease + headers(*request("POST", path)) + grease + data(b"x") + grease
        got = await client.raw(message).ended()
    assert (got.end, got.status, bytes(got.body)) == (End.COMPLETE, 200, b"ab")


# ---- what a gateway adds and takes -----------------------------------------


async def test_request_arrives_with_what_a_gateway_adds_and_nothing_claimed(
    shared_house, spooky
):
    claims = [
        ("x-forwarded-for", "192.0.2.1"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.test"),
        ("forwarded", "for=192.0.2.1"),
        ("client-cert", ":AAAA:"),
        ("client-cert-chain", ":AAAA:"),
        ("host", "spooky.test"),
        ("cookie", "a=1"),
        ("cookie", "b=2"),
    ]
    async with shared_house.connect(spooky) as client:
        got = await client.raw(headers(*request("GET", "/sink?a=%20b//", *claims))).ended()
    seen = json.loads(got.body)["headers"]
    values = lambda name: [value for key, value in seen if key == name]
    assert values(":authority") == ["spooky.test"] and values("host") == []
    assert values(":path") == ["/sink?a=%20b//"]
    assert values("x-forwarded-for") == ["127.0.0.1"]
    assert values("x-forwarded-proto") == ["https"]
    assert values("x-forwarded-host") == ["spooky.test"]
    assert values("forwarded") == []
    assert values("client-cert") == values("client-cert-chain") == []
    assert values("cookie") == ["a=1", "b=2"]
    assert values("via") == ["3 spooky"]
    assert got.headers["date"].endswith(" GMT")


# ---- ordinary traffic, by curl ---------------------------------------------


class Answer:
    """A response as curl tells it."""

    def __init__(self, curl: Curl, head: bytes, body: bytes):
        self.status = curl.getinfo(CurlInfo.RESPONSE_CODE)
        self.version = curl.getinfo(CurlInfo.HTTP_VERSION)
        self.body = body
        # Of all heads, informational ones and trailers too; status lines have no colon.
        lines = [line.partition(": ") for line in head.decode("latin-1").split("\r\n")]
        self.fields = [(name.lower(), value) for name, colon, value in lines if colon]

    def values(self, name: str) -> list[str]:
        return [value for known, value in self.fields if known == name]


@pytest.fixture
def curl(shared_house, spooky):
    """Asks over HTTP/3 and nothing else."""

    def ask(path: str, *options, method: str = "GET", body: bytes | None = None, fields=()):
        handle = Curl()
        received, head = bytearray(), bytearray()
        try:
            handle.setopt(CurlOpt.URL, f"https://127.0.0.1:{spooky.port}{path}".encode())
            handle.setopt(CurlOpt.HTTP_VERSION, CurlHttpVersion.V3ONLY)
            handle.setopt(CurlOpt.CAINFO, str(shared_house.certificates.ca).encode())
            handle.setopt(CurlOpt.PATH_AS_IS, 1)
            handle.setopt(CurlOpt.TIMEOUT, 30)
            handle.setopt(CurlOpt.WRITEFUNCTION, lambda piece: received.extend(piece) or len(piece))
            handle.setopt(CurlOpt.HEADERFUNCTION, lambda line: head.extend(line) or len(line))
            if method == "HEAD":
                handle.setopt(CurlOpt.NOBODY, 1)
            elif method != "GET" or body is not None:
                handle.setopt(CurlOpt.CUSTOMREQUEST, method.encode())
            if body is not None:
                handle.setopt(CurlOpt.POSTFIELDSIZE, len(body))
                handle.setopt(CurlOpt.POSTFIELDS, body)
            if fields:
                handle.setopt(CurlOpt.HTTPHEADER, [f.encode() for f in fields])
            handle.perform(clear_headers=False)
            return Answer(handle, bytes(head), bytes(received))
        finally:
            handle.close()

    return ask


def test_curl_gets_a_body_over_http_3(curl):
    got = curl("/bytes/100000")
    assert (got.status, got.version) == (200, CurlHttpVersion.V3)
    assert got.body == pattern.body(100_000)
    assert got.values("content-length") == ["100000"]


def test_curl_gets_a_large_body_of_unknown_length(curl):
    got = curl(f"/stream/{8 << 20}")
    assert got.status == 200 and got.values("content-length") == []
    assert pattern.digest(got.body) == pattern.digest(pattern.body(8 << 20))


@pytest.mark.parametrize("size", [0, 1, 100_000, 4 << 20])
def test_curl_posts_a_body(curl, size):
    body = pattern.body(size)
    got = curl("/sink", method="POST", body=body)
    seen = json.loads(got.body)
    assert (got.status, seen["bytes"], seen["sha256"]) == (200, size, pattern.digest(body))
    assert ["content-length", str(size)] in seen["headers"]


@pytest.mark.parametrize("method", ["PUT", "DELETE", "PATCH", "OPTIONS", "PROPFIND"])
def test_curl_uses_other_methods(curl, method):
    seen = json.loads(curl("/sink", method=method).body)
    assert [":method", method] in seen["headers"]


def test_curl_asks_for_a_head(curl):
    head = response("200", ("content-length", "1234"), ("etag", '"x"'))
    got = curl(told(head), method="HEAD")
    assert (got.status, got.body) == (200, b"")
    assert got.values("content-length") == ["1234"] and got.values("etag") == ['"x"']


def test_redirects_pass_untouched(curl):
    location = "http://elsewhere.test/a?b=c#d"
    got = curl(told(response("302", ("location", location)) + data(b"there")))
    assert (got.status, got.body) == (302, b"there")
    assert got.values("location") == [location]


def test_cookies_pass_both_ways(curl):
    cookies = [("set-cookie", "a=1; Path=/; Secure"), ("set-cookie", "b=2; HttpOnly")]
    got = curl(told(response("200", *cookies)))
    assert got.values("set-cookie") == [value for _, value in cookies]
    seen = json.loads(curl("/sink", fields=["Cookie: a=1; b=2"]).body)
    sent = [value for name, value in seen["headers"] if name == "cookie"]
    assert "; ".join(sent) == "a=1; b=2"


def test_ranges_pass_both_ways(curl):
    part = response(
        "206", ("content-range", "bytes 0-3/100"), ("content-length", "4")
    ) + data(b"part")
    got = curl(told(part), fields=["Range: bytes=0-3"])
    assert (got.status, got.body) == (206, b"part")
    assert got.values("content-range") == ["bytes 0-3/100"]
    seen = json.loads(curl("/sink", fields=["Range: bytes=5-"]).body)
    assert ["range", "bytes=5-"] in seen["headers"]


def test_304_and_204_end_with_their_heads(curl):
    got = curl(
        told(response("304", ("etag", '"x"'), ("content-length", "500"))),
        fields=['If-None-Match: "x"'],
    )
    assert (got.status, got.body) == (304, b"")
    assert got.values("etag") == ['"x"']
    got = curl(told(response("204")))
    assert (got.status, got.body) == (204, b"")


def test_early_hints_pass_before_the_response(curl):
    hints = response("103", ("link", "</a.css>; rel=preload"))
    got = curl(told(hints + hints + response("200", ("x", "y")) + data(b"body")))
    assert (got.status, got.body) == (200, b"body")
    assert got.values("link") == ["</a.css>; rel=preload"] * 2


def test_trailers_reach_curl(curl):
    got = curl("/trailers/1000")
    assert got.body == pattern.body(1000)
    assert got.values("x-sha256") == [pattern.digest(pattern.body(1000))]


def test_paths_and_queries_pass_byte_for_byte(curl):
    path = "/nowhere/../x/./%2e%2E//?a=%20b&c=d?e"
    got = curl(path)
    assert got.status == 404  # what the origin says of it, so it arrived
    seen = json.loads(curl("/sink?x=%zz&y=/../").body)
    assert [":path", "/sink?x=%zz&y=/../"] in seen["headers"]


def test_errors_of_spooky_tell_why(curl):
    got = curl(told(response("99999")))
    assert got.status == 502
    (status,) = got.values("proxy-status")
    assert status.startswith("spooky; error=http_protocol_error; details=")
