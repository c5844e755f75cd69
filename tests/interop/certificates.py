"""An authority and its certificates, made for each run."""

import datetime
import ipaddress
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import pkcs12
from cryptography.x509.oid import NameOID

NAMES = [
    x509.DNSName("localhost"),
    x509.DNSName("spooky.test"),
    x509.IPAddress(ipaddress.ip_address("127.0.0.1")),
    x509.IPAddress(ipaddress.ip_address("::1")),
]

PKCS8 = serialization.PrivateFormat.PKCS8
PKCS12 = serialization.PrivateFormat.PKCS12
# "Traditional" is PKCS#1 for an RSA key and SEC1 for an elliptic curve.
TRADITIONAL = serialization.PrivateFormat.TraditionalOpenSSL


@dataclass
class Identity:
    """A certificate and its key, as PEM files."""

    cert: Path
    key: Path


class Authority:
    """A certificate authority that lives in `folder`."""

    def __init__(self, folder: Path, name: str):
        self.folder = folder
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        basic = x509.BasicConstraints(ca=True, path_length=0)
        self.certificate = (
            self._builder(self.name, self.key.public_key())
            .add_extension(basic, critical=True)
            .sign(self.key, hashes.SHA256())
        )
        self.file = folder / f"{name}.pem"
        self.file.write_bytes(_pem(self.certificate))

    def issue(
        self, name: str, *, kind: str = "ec", encoding=PKCS8, names=NAMES, days: float = 7
    ) -> Identity:
        """A certificate, written as `name`.pem and `name`.key. It is for this machine
        unless there are other `names`, and ends in so many days."""
        if kind == "rsa":
            key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        else:
            key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
        certificate = (
            self._builder(subject, key.public_key(), days)
            .add_extension(x509.SubjectAlternativeName(names), critical=False)
            .sign(self.key, hashes.SHA256())
        )
        identity = Identity(self.folder / f"{name}.pem", self.folder / f"{name}.key")
        identity.cert.write_bytes(_pem(certificate))
        plain = serialization.NoEncryption()
        identity.key.write_bytes(
            key.private_bytes(serialization.Encoding.PEM, encoding, plain)
        )
        return identity

    def bundle(self, identity: Identity, password: bytes, *, algorithm=None) -> Path:
        """A PKCS#12 bundle of an identity, with the authority in it."""
        certificate = x509.load_pem_x509_certificate(identity.cert.read_bytes())
        key = serialization.load_pem_private_key(identity.key.read_bytes(), None)
        lock = serialization.BestAvailableEncryption(password)
        if algorithm is not None:
            builder = PKCS12.encryption_builder().kdf_rounds(2000)
            lock = builder.key_cert_algorithm(algorithm).build(password)
        file = identity.cert.with_suffix(".p12")
        file.write_bytes(
            pkcs12.serialize_key_and_certificates(
                b"bundle", key, certificate, [self.certificate], lock
            )
        )
        return file

    def _builder(
        self, subject, public_key, days: float = 7
    ) -> x509.CertificateBuilder:
        now = datetime.datetime.now(datetime.timezone.utc)
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self.name)
            .public_key(public_key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - datetime.timedelta(days=2))
            .not_valid_after(now + datetime.timedelta(days=days))
        )


def _pem(certificate) -> bytes:
    return certificate.public_bytes(serialization.Encoding.PEM)
