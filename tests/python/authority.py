"""Certificates made at test time."""

import datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

DAY = datetime.timedelta(days=1)


def elliptic():
    return ec.generate_private_key(ec.SECP256R1())


class Signed:
    """A certificate and its key as files."""

    def __init__(self, folder, name, certificate, key):
        self.certificate, self.key = folder / f"{name}.pem", folder / f"{name}.key"
        self.serial = certificate.serial_number
        self.certificate.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
        self.key.write_bytes(
            key.private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.TraditionalOpenSSL,
                serialization.NoEncryption(),
            )
        )


class Authority:
    def __init__(self, folder, name):
        self.folder, self.name = folder, name
        self.key = elliptic()
        basic = x509.BasicConstraints(ca=True, path_length=None)
        self.certificate = self._build(name, self.key, name).add_extension(basic, True)
        self.certificate = self.certificate.sign(self.key, hashes.SHA256())
        self.file = folder / f"{name}-ca.pem"
        self.pem = self.certificate.public_bytes(serialization.Encoding.PEM)
        self.file.write_bytes(self.pem)

    def _build(self, subject, key, issuer, expired=False):
        now = datetime.datetime.now(datetime.timezone.utc)
        begin, end = (now - 2 * DAY, now - DAY) if expired else (now - DAY, now + DAY)
        name = lambda text: x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])
        return (
            x509.CertificateBuilder()
            .subject_name(name(subject))
            .issuer_name(name(issuer))
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(begin)
            .not_valid_after(end)
        )

    def _sign(self, name, key, use, expired, names=()):
        builder = self._build(name, key, self.name, expired)
        builder = builder.add_extension(x509.ExtendedKeyUsage([use]), False)
        if names:
            builder = builder.add_extension(x509.SubjectAlternativeName(names), False)
        certificate = builder.sign(self.key, hashes.SHA256())
        return Signed(self.folder, f"{self.name}-{name}", certificate, key)

    def server(self, name="server", expired=False, with_rsa=False):
        """For localhost."""
        key = rsa.generate_private_key(65537, 2048) if with_rsa else elliptic()
        names = [x509.DNSName("localhost")]
        return self._sign(name, key, ExtendedKeyUsageOID.SERVER_AUTH, expired, names)

    def client(self, name, expired=False):
        return self._sign(name, elliptic(), ExtendedKeyUsageOID.CLIENT_AUTH, expired)
