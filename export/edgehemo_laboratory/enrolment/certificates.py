"""The laboratory's certificates and those it gives to kiosks.

``server`` is what the laboratory shows: a certificate of its own, which kiosks pin. ``kiosks``
signs the kiosks' certificates and nothing else; no kiosk trusts it, so no kiosk can pass for the
laboratory. Every kiosk's certificate is known here by its digest besides, and counts until it is
replaced or revoked. None of them has an end by date: a clock that forgot the time locks nobody out.
"""

from __future__ import annotations

import base64
import contextlib
import hashlib
import ipaddress
import ssl
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from edgehemo.files.atomic import written_atomically
from edgehemo.files.lock import locked
from edgehemo_laboratory.errors import LaboratoryError

# RFC 5280, 4.1.2.5: a certificate without an end, good on a device whose clock says 1970 too.
_FROM = datetime(1950, 1, 1, tzinfo=UTC)
_UNTIL = datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC)
SERVER, NEXT, KIOSKS = "server", "next", "kiosks"


@dataclass(frozen=True, slots=True)
class Certificate:
    """A certificate of the laboratory and where it lies."""

    path: Path
    pem: str

    @property
    def der(self) -> bytes:
        return ssl.PEM_cert_to_DER_cert(self.pem)

    @property
    def digest(self) -> str:
        """SHA-256 of the DER bytes."""
        return hashlib.sha256(self.der).hexdigest()


@dataclass(frozen=True, slots=True)
class Certificates:
    """Those of one laboratory, in a folder that only its owner may read; each in one file with its
    key, so that the two never part.
    """

    folder: Path

    def make(self, names: Sequence[str]) -> None:
        """Make what is not there yet; names: host names and addresses that kiosks call."""
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with locked(self.folder / SERVER, LaboratoryError):
            if not self._path(KIOSKS).exists():
                self._write(KIOSKS, _authority())
            if not self._path(SERVER).exists():
                self._write(SERVER, _server(names))

    def _path(self, name: str) -> Path:
        return self.folder / f"{name}.pem"

    def _write(self, name: str, made: tuple[x509.Certificate, ec.EllipticCurvePrivateKey]) -> None:
        certificate, key = made
        text = key.private_bytes(
            serialization.Encoding.PEM,
            serialization.PrivateFormat.PKCS8,
            serialization.NoEncryption(),
        ) + certificate.public_bytes(serialization.Encoding.PEM)
        with written_atomically(self._path(name), private=True) as file:
            file.write(text)

    def _read(self, name: str) -> Certificate:
        path = self._path(name)
        try:
            text = path.read_text("ascii")
            begin = text.index("-----BEGIN CERTIFICATE-----")
        except (OSError, ValueError) as error:
            raise LaboratoryError(f"{path}: is no certificate with its key ({error})") from None
        return Certificate(path, text[begin:])

    @property
    def server(self) -> Certificate:
        """What the laboratory shows now."""
        return self._read(SERVER)

    @property
    def names(self) -> list[str]:
        """What it says it is called."""
        found = x509.load_der_x509_certificate(self.server.der)
        value = found.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
        return [
            *value.get_values_for_type(x509.DNSName),
            *(str(each) for each in value.get_values_for_type(x509.IPAddress)),
        ]

    @property
    def prepared(self) -> Certificate | None:
        """What it will show once all kiosks trust it; None where nothing is prepared."""
        return self._read(NEXT) if self._path(NEXT).exists() else None

    @property
    def to_trust(self) -> list[Certificate]:
        """What kiosks are to trust from now on."""
        coming = self.prepared
        return [self.server, *([] if coming is None else [coming])]

    def prepare(self, names: Sequence[str] = ()) -> Certificate:
        """Make the one that comes next, for these names, else those of now."""
        with locked(self.folder / SERVER, LaboratoryError):
            if self._path(NEXT).exists():
                raise LaboratoryError(
                    "another certificate is prepared already; put it into use with "
                    "`edgehemo laboratory certificate --use`"
                )
            self._write(NEXT, _server(names or self.names))
        return self._read(NEXT)

    def use_prepared(self) -> Certificate:
        """Show the prepared one from now on."""
        with locked(self.folder / SERVER, LaboratoryError):
            if not self._path(NEXT).exists():
                raise LaboratoryError(
                    "no certificate is prepared; `edgehemo laboratory certificate --prepare` does"
                )
            self._path(NEXT).replace(self._path(SERVER))
        return self.server

    def for_kiosk(self, name: str, public_key: str, proof: str, said: bytes) -> str:
        """A kiosk's certificate, PEM. said: what the proof is a signature of.

        LaboratoryError where the key is not its own.
        """
        key = _own_key(public_key, proof, said)
        path = self._path(KIOSKS)
        text = path.read_bytes()
        issuer = x509.load_pem_x509_certificate(text)
        signer = serialization.load_pem_private_key(text, None)
        assert isinstance(signer, ec.EllipticCurvePrivateKey)
        made = (
            _begun(name, issuer.subject)
            .public_key(key)
            .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
            .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
            .sign(signer, hashes.SHA256())
        )
        return made.public_bytes(serialization.Encoding.PEM).decode("ascii")

    def tls(self) -> ssl.SSLContext:
        """What the server speaks: a certificate of a kiosk is asked for, browsers have none."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        context.load_cert_chain(self._path(SERVER))
        context.load_verify_locations(cadata=self._read(KIOSKS).pem)
        context.verify_mode = ssl.CERT_OPTIONAL
        return context


def _own_key(public_key: str, proof: str, said: bytes) -> Ed25519PublicKey:
    try:
        key = Ed25519PublicKey.from_public_bytes(base64.b64decode(public_key, validate=True))
        key.verify(base64.b64decode(proof, validate=True), said)
    except (ValueError, InvalidSignature):
        raise LaboratoryError("the key is not that of whoever asks") from None
    return key


def _begun(name: str, issuer: x509.Name | None = None) -> x509.CertificateBuilder:
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name[:64])])
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(subject if issuer is None else issuer)
        .serial_number(x509.random_serial_number())
        .not_valid_before(_FROM)
        .not_valid_after(_UNTIL)
    )


def _authority() -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    usage = dict.fromkeys(
        (
            "digital_signature", "content_commitment", "key_encipherment", "data_encipherment",
            "key_agreement", "crl_sign", "encipher_only", "decipher_only",
        ),
        False,
    )  # fmt: skip
    made = (
        _begun("edgehemo laboratory: kiosks")
        .public_key(key.public_key())
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(x509.KeyUsage(key_cert_sign=True, **usage), critical=True)
        .sign(key, hashes.SHA256())
    )
    return made, key


def _server(names: Sequence[str]) -> tuple[x509.Certificate, ec.EllipticCurvePrivateKey]:
    key = ec.generate_private_key(ec.SECP256R1())
    called: list[x509.GeneralName] = []
    for name in dict.fromkeys(names):
        with contextlib.suppress(ValueError):
            called.append(x509.IPAddress(ipaddress.ip_address(name)))
            continue
        called.append(x509.DNSName(name))
    if not called:
        raise LaboratoryError("the laboratory has no name that kiosks could call it by")
    made = (
        _begun("edgehemo laboratory")
        .public_key(key.public_key())
        .add_extension(x509.SubjectAlternativeName(called), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .sign(key, hashes.SHA256())
    )
    return made, key


def digest_of_pem(pem: str) -> str:
    """SHA-256 of a certificate's DER bytes."""
    return hashlib.sha256(ssl.PEM_cert_to_DER_cert(pem)).hexdigest()
