"""The daemon as an operator meets it: signals, exit codes, log lines, the access log."""

import asyncio
import json
import signal
import subprocess

import pytest

import pattern
from certificates import PKCS8, TRADITIONAL
from client import End
from processes import SPOOKY, yaml


def run(*arguments: str) -> subprocess.CompletedProcess:
    """Runs the binary to its end."""
    return subprocess.run(
        [str(SPOOKY), *arguments], capture_output=True, text=True, timeout=20
    )


# ---- stopping -------------------------------------------------------------


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_signal_lets_a_download_finish(house, number):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port], drain_timeout="10s")
    async with house.connect(spooky) as client:
        exchange = client.request("GET", "/drip/100/20")
        await exchange.until(lambda e: len(e.body) > 2000)
        spooky.signal(number)
        await exchange.ended()
        assert exchange.end == End.COMPLETE
        assert exchange.body == pattern.body(100_000)
    # Done long before the deadline: nothing is left to wait for.
    assert await asyncio.to_thread(spooky.wait, 5) == 0


async def test_drain_deadline_cuts_off_what_is_left(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port], drain_timeout="1s")
    async with house.connect(spooky) as client:
        exchange = client.request("GET", "/drip/1000/20")
        await exchange.until(lambda e: len(e.body) > 2000)
        spooky.signal(signal.SIGTERM)
        await exchange.ended(10)
        assert exchange.end in (End.RESET, End.LOST)
    assert await asyncio.to_thread(spooky.wait, 5) == 0


async def test_second_signal_stops_at_once(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port], drain_timeout="60s")
    async with house.connect(spooky) as client:
        exchange = client.request("GET", "/drip/2000/20")
        await exchange.until(lambda e: len(e.body) > 2000)
        spooky.signal(signal.SIGTERM)
        await asyncio.sleep(0.5)
        assert spooky.running()
        spooky.signal(signal.SIGTERM)
        # Cut short is not done: it says so.
        spooky.expected_code = 1
        assert await asyncio.to_thread(spooky.wait, 5) == 1


async def test_hangup_says_that_reload_is_not_available(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    spooky.signal(signal.SIGHUP)
    await asyncio.to_thread(
        spooky.wait_for, lambda: "reload" in spooky.stderr.lower(), "word on reload"
    )
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


# ---- starting -------------------------------------------------------------


async def test_start_up_says_where_and_with_what(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    async with house.connect(spooky) as client:
        await client.get("/bytes/10")
    log = spooky.stderr.lower()
    assert f"127.0.0.1:{spooky.port}" in log
    assert "worker" in log
    assert "buffer" in log


async def test_second_instance_is_told_that_the_address_is_in_use(house):
    origin = house.origin()
    spooky = house.spooky("daemon", [origin.port])
    second = run("--config", str(spooky.config_file))
    assert second.returncode == 1
    assert "address in use" in second.stderr.lower()
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


@pytest.mark.parametrize(
    "kind, encoding",
    [("rsa", PKCS8), ("rsa", TRADITIONAL), ("ec", TRADITIONAL)],
    ids=["pkcs8", "pkcs1", "sec1"],
)
async def test_private_keys_in_every_encoding(house, certificates, kind, encoding):
    identity = certificates.authority.issue("odd-key", kind=kind, encoding=encoding)
    origin = house.origin()
    tls = {"cert": str(identity.cert), "key": str(identity.key)}
    spooky = house.spooky("daemon", [origin.port], tls=tls)
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


# ---- checking -------------------------------------------------------------


def check(house, text: str, *more: str) -> subprocess.CompletedProcess:
    file = house.folder / "checked.yaml"
    file.write_text(text)
    return run("check", "--config", str(file), *more)


def test_check_accepts_a_valid_configuration(house):
    result = check(house, yaml(house.config([4433])))
    assert result.returncode == 0, result.stderr


def test_check_prints_the_effective_configuration(house):
    result = check(house, yaml(house.config([4433])), "--effective")
    assert result.returncode == 0, result.stderr
    assert "idle_timeout: 30s" in result.stdout
    # What is printed is a configuration again.
    again = check(house, result.stdout, "--effective")
    assert again.returncode == 0, again.stderr
    assert again.stdout == result.stdout


def test_check_names_the_place_of_an_unknown_key(house):
    text = yaml(house.config([4433])) + "drain_timeuot: 1s\n"
    line = text.count("\n")
    result = check(house, text)
    assert result.returncode == 2
    assert f"checked.yaml:{line}:1" in result.stderr
    assert "drain_timeout" in result.stderr  # the nearest key


def test_check_misses_a_certificate(house):
    config = house.config([4433])
    config["tls"]["cert"] = "nowhere.pem"
    result = check(house, yaml(config))
    assert result.returncode == 2
    assert "nowhere.pem" in result.stderr


@pytest.mark.parametrize(
    "arguments",
    [["--config", "/nonexistent/spooky.yaml"], ["--no-such-flag"], ["no-such-command"]],
)
def test_bad_usage_is_exit_code_2(arguments):
    result = run(*arguments)
    assert result.returncode == 2
    assert result.stderr


# ---- the access log -------------------------------------------------------


async def test_access_log_has_a_line_for_each_request(house):
    origin = house.origin()
    access = house.folder / "access.log"
    spooky = house.spooky(
        "daemon",
        [origin.port],
        log={"level": "info", "access": {"path": str(access), "format": "json"}},
    )
    async with house.connect(spooky) as client:
        await client.get("/bytes/1000?q=1")
        await client.post("/sink", b"x" * 500)
        await client.get("/status/404")
        await client.get("/refuse")
        await client.get("/reset/1000")
        exchange = client.request("GET", "/drip/1000/20")
        await exchange.until(lambda e: len(e.body) > 2000)
        exchange.cancel()
        await asyncio.sleep(0.3)
    assert await asyncio.to_thread(spooky.stop) == 0

    lines = [json.loads(line) for line in access.read_text().splitlines()]
    by_path = {line["path"]: line for line in lines}
    assert len(lines) == len(by_path) == 6
    assert len({line["id"] for line in lines}) == 6

    get = by_path["/bytes/1000?q=1"]
    assert (get["method"], get["authority"]) == ("GET", "spooky.test")
    assert (get["status"], get["outcome"]) == (200, "complete")
    assert (get["backend"], get["attempts"]) == ("web1", 1)
    assert (get["request_bytes"], get["response_bytes"]) == (0, 1000)
    assert get["client"].startswith("127.0.0.1:")
    assert by_path["/sink"]["request_bytes"] == 500
    assert (by_path["/status/404"]["status"], by_path["/status/404"]["outcome"]) == (
        404,
        "complete",
    )
    refused = by_path["/refuse"]
    assert (refused["status"], refused["outcome"]) == (502, "local_reply")
    assert refused["reason"] == "backend_reset"
    cut = by_path["/reset/1000"]
    assert (cut["outcome"], cut["reason"]) == ("reset", "backend_reset")
    cancelled = by_path["/drip/1000/20"]
    assert (cancelled["outcome"], cancelled["reason"]) == (
        "cancelled",
        "client_cancelled",
    )
