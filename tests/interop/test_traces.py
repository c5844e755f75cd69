"""Secrets (`log.tls_keys`) and traces (`log.qlog`), as files on a disk."""

import json
import os
import socket
import subprocess
from pathlib import Path

import pytest

import keylog
from client import End, connect
from processes import SPOOKY, yaml
from tap import tap

# Of our own, and what aioquic takes by default.
OUR_ID, THEIR_ID = 16, 8
BODY = b"tell-tale-body " * 2000


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o7777


def refused(house, **log) -> str:
    """What the daemon and `check` say about a configuration that they refuse."""
    file = house.folder / "refused.yaml"
    file.write_text(yaml(house.config([4433], log=log)))
    said = []
    for arguments, code in [(["check", "--config"], 2), (["--config"], 1)]:
        command = [str(SPOOKY), *arguments, str(file)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=20)
        assert result.returncode == code, result.stderr
        said.append(result.stderr)
    return "\n".join(said)


# ---- secrets ----------------------------------------------------------------


async def test_secrets_open_what_was_said_on_both_sides(house, certificates):
    """With the file and the datagrams, anybody reads everything. That is its use."""
    keys = house.folder / "keys.log"
    origin = house.origin()
    async with tap(origin.port) as behind:
        spooky = house.spooky("daemon", [behind.port], log={"tls_keys": str(keys)})
        async with tap(spooky.port) as before:
            async with connect(before.port, certificates.ca) as client:
                response = await client.post("/echo", BODY)
                assert (response.end, response.body) == (End.COMPLETE, BODY)
        assert spooky.stop() == 0
        lines = keylog.read(keys)
        assert len({random for _, random, _ in lines}) == 2
        for wire, of_server, of_client in [
            (before.datagrams, THEIR_ID, OUR_ID),
            (behind.datagrams, OUR_ID, THEIR_ID),
        ]:
            for label, id_length in [
                ("SERVER_TRAFFIC_SECRET_0", of_server),
                ("CLIENT_TRAFFIC_SECRET_0", of_client),
            ]:
                secrets = [secret for name, _, secret in lines if name == label]
                opened = [keylog.decrypt(wire, secret, id_length) for secret in secrets]
                assert any(BODY[:15] in payload for some in opened for payload in some)
    assert mode(keys) == 0o600
    # It says so, and what to do.
    assert "log.tls_keys" in spooky.stderr and "delete the file" in spooky.stderr


async def test_secrets_are_added_to_those_of_earlier_runs(house):
    keys = house.folder / "keys.log"
    origin = house.origin()
    for run in (1, 2):
        spooky = house.spooky("daemon", [origin.port], log={"tls_keys": str(keys)})
        async with house.connect(spooky) as client:
            assert (await client.get("/bytes/10")).status == 200
        assert spooky.stop() == 0
        assert len({random for _, random, _ in keylog.read(keys)}) == 2 * run


def test_secrets_follow_no_link(house):
    aim = house.folder / "aim"
    link = house.folder / "keys.log"
    link.symlink_to(aim)
    said = refused(house, tls_keys=str(link))
    assert said.count(f"log.tls_keys: {link}: is a symbolic link") == 2, said
    assert not aim.exists()


def test_secrets_go_to_no_file_that_others_read(house):
    file = house.folder / "keys.log"
    file.touch()
    file.chmod(0o644)
    said = refused(house, tls_keys=str(file))
    assert said.count(f"{file}: others may read or write it (mode 0644)") == 2, said
    assert file.read_bytes() == b""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root makes files of others")
def test_secrets_go_to_no_file_of_another_user(house):
    file = house.folder / "keys.log"
    file.touch()
    file.chmod(0o600)
    os.chown(file, 65534, 65534)
    assert "belongs to another user (uid 65534)" in refused(house, tls_keys=str(file))


def test_secrets_go_into_no_socket(house):
    path = house.folder / "keys.log"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        assert "is no plain file" in refused(house, tls_keys=str(path))


# ---- traces -----------------------------------------------------------------


def records(path: Path) -> list[dict]:
    """RFC 7464: each text between a record separator and a line break."""
    texts = path.read_bytes().split(b"\x1e")
    assert texts[0] == b""
    assert all(text.endswith(b"\n") for text in texts[1:])
    return [json.loads(text) for text in texts[1:]]


async def test_traces_tell_of_every_packet_on_both_sides(house):
    folder = house.folder / "traces"
    folder.mkdir()
    origin = house.origin()
    log = {"qlog": {"dir": str(folder), "sample": 1}}
    spooky = house.spooky("daemon", [origin.port], log=log)
    async with house.connect(spooky) as client:
        response = await client.post("/echo", BODY)
        assert (response.end, response.body) == (End.COMPLETE, BODY)
    assert spooky.stop() == 0
    assert "log.qlog" in spooky.stderr and "1024 MiB at most" in spooky.stderr

    traces = sorted(folder.iterdir())
    assert [mode(path) for path in traces] == [0o600, 0o600]
    sides = {path.name.split("-")[2]: records(path) for path in traces}
    assert set(sides) == {"client", "backend"}
    for side, (head, *events) in sides.items():
        assert head["serialization_format"] == "JSON-SEQ"
        vantage = {"client": "server", "backend": "client"}[side]
        assert head["trace"]["vantage_point"]["type"] == vantage
        # To the end: who said goodbye to whom.
        goodbye = {"client": "packet_received", "backend": "packet_sent"}[side]
        last = [e for e in events if "connection_close" in json.dumps(e)]
        assert last and last[0]["name"].endswith(goodbye), side
        # All of the body came in and went out, and every bit of it is told.
        for direction in ("packet_received", "packet_sent"):
            packets = [e["data"] for e in events if e["name"].endswith(direction)]
            frames = [frame for packet in packets for frame in packet.get("frames", [])]
            moved = sum(
                frame["raw"]["payload_length"]
                for frame in frames
                if frame["frame_type"] == "stream" and frame["stream_id"] == 0
            )
            assert len(BODY) <= moved < 1.2 * len(BODY), (side, direction)


async def test_traces_are_of_a_sample(house):
    folder = house.folder / "traces"
    folder.mkdir()
    origin = house.origin()
    log = {"qlog": {"dir": str(folder), "sample": 0.000001}}
    spooky = house.spooky("daemon", [origin.port], log=log)
    for _ in range(5):
        async with house.connect(spooky) as client:
            assert (await client.get("/bytes/10")).status == 200
    assert spooky.stop() == 0
    assert list(folder.iterdir()) == []


async def test_the_oldest_traces_give_way(house):
    folder = house.folder / "traces"
    folder.mkdir()
    # Of an earlier run: files with holes, which occupy nothing.
    earlier = [folder / f"spooky-{n:015}-client-{n:032x}.sqlog" for n in range(4)]
    other = folder / "not-a-trace"
    for path in [*earlier, other]:
        path.touch()
        os.truncate(path, 400 << 20)
    origin = house.origin()
    log = {"qlog": {"dir": str(folder), "sample": 1}}
    spooky = house.spooky("daemon", [origin.port], log=log)
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200
    assert spooky.stop() == 0
    assert [path.exists() for path in [*earlier, other]] == [False, False, True, True, True]
    assert len(list(folder.iterdir())) == 5


def test_traces_want_a_folder_that_is_there(house):
    missing = house.folder / "missing"
    said = refused(house, qlog={"dir": str(missing)})
    assert said.count(f"log.qlog.dir: {missing}: No such file or directory") == 2, said


def test_check_warns_and_makes_nothing(house):
    folder = house.folder / "traces"
    folder.mkdir()
    keys = house.folder / "keys.log"
    config = house.config([4433], log={"tls_keys": str(keys), "qlog": {"dir": str(folder)}})
    file = house.folder / "checked.yaml"
    file.write_text(yaml(config))
    command = [str(SPOOKY), "check", "--effective", "--config", str(file)]
    result = subprocess.run(command, capture_output=True, text=True, timeout=20)
    assert result.returncode == 0, result.stderr
    assert "sample: 0.001" in result.stdout and f"tls_keys: {keys}" in result.stdout
    lines = result.stderr.splitlines()
    assert [line.split(": ")[0] for line in lines] == ["warning", "warning"]
    assert "log.tls_keys" in lines[0] and "log.qlog" in lines[1]
    assert not keys.exists() and list(folder.iterdir()) == []
