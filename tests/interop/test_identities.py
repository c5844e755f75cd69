"""Who the daemon is to a client that we did not write, and who the client has to be."""

import base64
import json
import ssl
import subprocess
from itertools import count

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.serialization import pkcs12

from certificates import TRADITIONAL, Authority
from client import End
from processes import SPOOKY, yaml

CERTIFICATE_REQUIRED = 0x100 + 116
UNKNOWN_CA = 0x100 + 48
EXPIRED = 0x100 + 45

serial = count()


def dns(*names: str):
    return [x509.DNSName(name) for name in names]


def pair(identity) -> dict:
    return {"cert": str(identity.cert), "key": str(identity.key)}


def issue(certificates, **settings):
    """An identity in files of its own."""
    return certificates.authority.issue(f"identity-{next(serial)}", **settings)


def met(client) -> x509.Certificate:
    return client._quic.tls._peer_certificate


# ---- the server's ----------------------------------------------------------


async def test_the_certificate_is_that_of_the_name(house, certificates):
    first, second, wild = (
        issue(certificates, names=names)
        for names in (
            dns("first.test", "x.wild.test"),
            dns("second.test"),
            dns("*.wild.test"),
        )
    )
    tls = {**pair(first), "certificates": [pair(second), pair(wild)]}
    spooky = house.spooky("daemon", [house.origin().port], tls=tls)
    for name, identity in (
        ("first.test", first),
        ("second.test", second),
        ("SECOND.test", second),
        ("any.wild.test", wild),
        ("x.wild.test", first),
    ):
        async with house.connect(spooky, server_name=name) as client:
            expected = x509.load_pem_x509_certificate(identity.cert.read_bytes())
            assert met(client) == expected, name
            assert (await client.get("/bytes/10")).status == 200


def password_in_file(house, monkeypatch):
    file = house.folder / "password"
    file.write_bytes("g\u00fcnther\r\n".encode())
    return {"file": str(file)}


def password_in_environment(house, monkeypatch):
    monkeypatch.setenv("BUNDLE_PASSWORD", "g\u00fcnther")
    return {"env": "BUNDLE_PASSWORD"}


@pytest.mark.parametrize("source", [password_in_file, password_in_environment])
@pytest.mark.parametrize(
    "algorithm",
    [None, pkcs12.PBES.PBESv1SHA1And3KeyTripleDESCBC],
    ids=["modern", "legacy"],
)
async def test_a_bundle_with_a_password(
    house, certificates, monkeypatch, source, algorithm
):
    identity = issue(certificates)
    file = certificates.authority.bundle(
        identity, "g\u00fcnther".encode(), algorithm=algorithm
    )
    tls = {"pkcs12": str(file), "password": source(house, monkeypatch)}
    spooky = house.spooky("daemon", [house.origin().port], tls=tls)
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


async def test_a_bundle_that_openssl_made(house, certificates):
    identity = issue(certificates, kind="rsa")
    file = house.folder / "openssl.p12"
    subprocess.run(
        ["openssl", "pkcs12", "-export", "-out", str(file), "-passout", "pass:a b"]
        + ["-inkey", str(identity.key), "-in", str(identity.cert)],
        check=True,
    )
    (house.folder / "password").write_text("a b\n")
    tls = {"pkcs12": str(file), "password": {"file": str(house.folder / "password")}}
    spooky = house.spooky("daemon", [house.origin().port], tls=tls)
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


@pytest.mark.parametrize("kind", ["ec", "rsa"])
async def test_der_as_openssl_writes_it(house, certificates, kind):
    identity = issue(certificates, kind=kind, encoding=TRADITIONAL)
    cert, key = house.folder / "cert.der", house.folder / "key.der"
    for command, source, to in (
        ("x509", identity.cert, cert),
        ("ec" if kind == "ec" else "rsa", identity.key, key),
    ):
        subprocess.run(
            ["openssl", command, "-in", str(source), "-outform", "DER", "-out", str(to)]
            + ([] if command != "rsa" else ["-traditional"]),
            check=True,
            capture_output=True,
        )
    tls = {"cert": str(cert), "key": str(key)}
    spooky = house.spooky("daemon", [house.origin().port], tls=tls)
    async with house.connect(spooky) as client:
        assert (await client.get("/bytes/10")).status == 200


# ---- what is wrong is said at the start ------------------------------------


def check(house, tls: dict) -> subprocess.CompletedProcess:
    file = house.folder / "checked.yaml"
    file.write_text(yaml({**house.config([4433]), "tls": tls}))
    return subprocess.run(
        [str(SPOOKY), "check", "--config", str(file)],
        capture_output=True,
        text=True,
        timeout=20,
    )


def refusal(house, tls: dict) -> str:
    result = check(house, tls)
    assert result.returncode == 2, result.stderr
    return result.stderr


def test_a_wrong_password_is_said_with_the_bundle(house, certificates):
    file = certificates.authority.bundle(issue(certificates), b"right")
    (house.folder / "password").write_text("wrong\n")
    tls = {"pkcs12": str(file), "password": {"file": "password"}}
    assert f"tls.pkcs12: {file}: the password is wrong" in refusal(house, tls)
    assert "the bundle is encrypted" in refusal(house, {"pkcs12": str(file)})
    tls["password"] = {"env": "NO_SUCH_VARIABLE"}
    assert "the environment variable NO_SUCH_VARIABLE is not set" in refusal(house, tls)
    said = refusal(house, {**tls, "password": "right"})
    assert "{ file: PATH } or { env: NAME }" in said
    assert "right" not in said.split("found", 1)[1]


@pytest.mark.parametrize("left_out", ["key", "certificate"])
def test_half_a_bundle_says_which_half_is_missing(house, certificates, left_out):
    identity = issue(certificates)
    file = house.folder / "half.p12"
    command = ["openssl", "pkcs12", "-export", "-out", str(file), "-passout", "pass:a"]
    if left_out == "key":
        command += ["-nokeys", "-in", str(identity.cert)]
    else:
        command += ["-nocerts", "-inkey", str(identity.key)]
    subprocess.run(command, check=True, capture_output=True)
    (house.folder / "password").write_text("a")
    said = refusal(house, {"pkcs12": str(file), "password": {"file": "password"}})
    expected = {
        "key": "the bundle holds no private key",
        "certificate": "the bundle holds no certificate that its private key belongs to",
    }
    assert expected[left_out] in said


def test_a_key_of_another_and_a_locked_one_are_said_with_their_file(
    house, certificates
):
    one, other = issue(certificates), issue(certificates)
    tls = {"cert": str(one.cert), "key": str(other.key)}
    said = refusal(house, tls)
    assert f"tls.key: {other.key}: the key does not belong to the leaf" in said
    locked = house.folder / "locked.key"
    key = serialization.load_pem_private_key(one.key.read_bytes(), None)
    locked.write_bytes(
        key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.BestAvailableEncryption(b"x"),
        )
    )
    tls["key"] = str(locked)
    assert f"tls.key: {locked}: the key is encrypted" in refusal(house, tls)


async def test_an_expired_certificate_is_a_warning(house, certificates):
    old = issue(certificates, days=-1)
    result = check(house, pair(old))
    assert result.returncode == 0
    assert "warning:" in result.stderr and "expired on" in result.stderr
    # It runs all the same: whether to take it is for the client to say.
    spooky = house.spooky("daemon", [house.origin().port], tls=pair(old))
    assert "expired on" in spooky.stderr
    async with house.connect(spooky, verify_mode=ssl.CERT_NONE) as client:
        assert (await client.get("/bytes/10")).status == 200


# ---- the client's ----------------------------------------------------------


def asking(house, certificates, mode: str, **forwarding):
    auth = {"mode": mode, "ca": str(certificates.ca)}
    tls = {**pair(certificates.front), "client_auth": auth}
    return house.spooky(
        "daemon", [house.origin().port], tls=tls, forwarding=forwarding or {"via": "off"}
    )


async def ask(house, spooky, identity=None, **settings):
    """The end of a request, and the code with which the connection was closed."""
    try:
        async with house.connect(spooky, identity=identity, **settings) as client:
            exchange = await client.get("/sink")
            if exchange.end == End.COMPLETE:
                return exchange
            return client.terminated.error_code
    except ConnectionError:
        return client.terminated.error_code


async def test_a_client_shows_a_certificate_where_it_must(house, certificates):
    good = issue(certificates)
    old = issue(certificates, days=-1)
    wrong = Authority(house.folder, "strangers").issue("stranger-client")
    for mode, without in (("request", 200), ("require", CERTIFICATE_REQUIRED)):
        spooky = asking(house, certificates, mode)
        for identity, expected in (
            (good, 200),
            (None, without),
            (wrong, UNKNOWN_CA),
            (old, EXPIRED),
        ):
            found = await ask(house, spooky, identity)
            assert getattr(found, "status", found) == expected, mode
        assert spooky.stop() == 0


async def test_backends_learn_of_the_certificate_that_was_verified(house, certificates):
    good = issue(certificates)
    spooky = asking(house, certificates, "request", client_cert="on")
    certificate = x509.load_pem_x509_certificate(good.cert.read_bytes())
    der = certificate.public_bytes(serialization.Encoding.DER)
    for identity, value in (
        (good, [f":{base64.b64encode(der).decode()}:"]),
        (None, []),
    ):
        async with house.connect(spooky, identity=identity) as client:
            for _ in range(2):
                exchange = await client.post(
                    "/sink", b"", headers={"client-cert": ":c3Bvb2Y=:"}
                )
                seen = json.loads(exchange.body)["headers"]
                assert [v for n, v in seen if n == "client-cert"] == value


async def test_backends_learn_of_no_certificate_unless_they_are_to(house, certificates):
    spooky = asking(house, certificates, "require")
    exchange = await ask(house, spooky, issue(certificates))
    names = [name for name, _ in json.loads(exchange.body)["headers"]]
    assert "client-cert" not in names
