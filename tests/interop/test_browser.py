"""Chromium, as Debian has it, fetches a page through the daemon."""

import asyncio
import base64
import hashlib
import html
import json
import os
import re
import shutil

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

NAME = "spooky.test"
SCRIPTS = [f"/script/{n}" for n in (1, 2, 3, 4)]
BODIES = [f"/bytes/{n}0000" for n in (1, 2, 3, 4)]


def public_key_digest(certificate) -> str:
    """How Chromium names a certificate that it may take without knowing its authority."""
    key = x509.load_pem_x509_certificate(certificate.read_bytes()).public_key()
    info = key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return base64.b64encode(hashlib.sha256(info).digest()).decode()


async def visit(house, spooky, path: str) -> str:
    """The page as it is in the end, when its scripts have run."""
    browser = shutil.which("chromium")
    assert browser, "chromium is missing: ./x setup installs it"
    command = [
        browser,
        "--headless=new",
        # Everybody who builds in a container is root there, and has no namespaces.
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        f"--user-data-dir={house.folder / 'profile'}",
        f"--host-resolver-rules=MAP {NAME} 127.0.0.1",
        f"--origin-to-force-quic-on={NAME}:{spooky.port}",
        "--ignore-certificate-errors-spki-list="
        + public_key_digest(house.certificates.front.cert),
        "--virtual-time-budget=20000",
        "--dump-dom",
        f"https://{NAME}:{spooky.port}{path}",
    ]
    environment = {**os.environ, "HOME": str(house.folder)}
    child = await asyncio.create_subprocess_exec(
        *command,
        env=environment,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    try:
        out, error = await asyncio.wait_for(child.communicate(), 50)
    finally:
        if child.returncode is None:
            child.kill()
    assert child.returncode == 0, error.decode()[-3000:]
    return out.decode()


async def test_chromium_shows_a_page_over_http_3(house):
    """Nobody listens on TCP: what it got, it got over QUIC. It says so itself."""
    access = house.folder / "access.log"
    origin = house.origin()
    log = {"access": {"path": str(access), "format": "json"}}
    spooky = house.spooky("daemon", [origin.port], log=log)
    page = await visit(house, spooky, "/page")
    said = re.search(r'<p id="said">(.*?)</p>', page)
    assert said, page
    told = json.loads(html.unescape(said.group(1)))
    assert sorted(told["loaded"]) == [1, 2, 3, 4]
    assert told["bodies"] == [10_000, 20_000, 30_000, 40_000]
    assert told["echoed"] == "tell-tale"
    assert (told["page"], told["protocols"]) == ("h3", ["h3"])

    assert await asyncio.to_thread(spooky.stop) == 0
    lines = [json.loads(line) for line in access.read_text().splitlines()]
    asked = {(line["method"], line["path"]) for line in lines}
    gets = {("GET", path) for path in ["/page", *SCRIPTS, *BODIES]}
    # It may ask for an icon as well.
    assert asked - {("GET", "/favicon.ico")} == gets | {("POST", "/echo")}
    assert {line["authority"] for line in lines} == {f"{NAME}:{spooky.port}"}
    # One connection carried it all.
    assert len({line["client"] for line in lines}) == 1
    by_path = {line["path"]: line for line in lines}
    for path in ["/page", *SCRIPTS, *BODIES, "/echo"]:
        assert (by_path[path]["status"], by_path[path]["outcome"]) == (200, "complete")
    assert by_path["/echo"]["request_bytes"] == len("tell-tale")
