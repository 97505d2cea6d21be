# SPDX-License-Identifier: MIT
"""A certificate authority for a test: it writes certificates and keys, for 127.0.0.1 where nothing else is said, and
clients that trust it."""
import datetime
import ipaddress
import ssl
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.x509.oid import NameOID

DAY = datetime.timedelta(days=1)


def new_key(kind):
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else rsa.generate_private_key(65537, kind)


def name(text):
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, text)])


def certify(subject, key, issuer, issuer_key, authority, names=(), until=DAY):
    """names: of hosts, instead of 127.0.0.1; until: from now, when it expires."""
    now = datetime.datetime.utcnow()
    address = x509.SubjectAlternativeName([x509.DNSName(name) for name in names] or
                                          [x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
    return (x509.CertificateBuilder().subject_name(name(subject)).issuer_name(name(issuer)).public_key(key.public_key())
            .serial_number(x509.random_serial_number()).not_valid_before(now - 2 * DAY).not_valid_after(now + until)
            .add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
            .add_extension(address, critical=False).sign(issuer_key, hashes.SHA256()))


def pem(certificate):
    return certificate.public_bytes(serialization.Encoding.PEM)


class Pair:
    """A certificate with its chain, and its key, both as PEM."""

    def __init__(self, certificates, key, password=None):
        lock = serialization.BestAvailableEncryption(password) if password else serialization.NoEncryption()
        self.chain = b"".join(map(pem, certificates))
        self.key = key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, lock)
        self.der = certificates[0].public_bytes(serialization.Encoding.DER)


class Authority:
    """Its root is trusted; what it issues is signed by an intermediate, so that a server has to send its chain."""

    def __init__(self, owner="a test"):
        root, self.name = f"root of {owner}", f"intermediate of {owner}"
        root_key, self.key = new_key("ec"), new_key("ec")
        self.root = certify(root, root_key, root, root_key, True)
        self.intermediate = certify(self.name, self.key, root, root_key, True)

    def issue(self, kind="ec", password=None, **options):
        """kind: "ec", or the bits of an RSA key; options: those of certify()."""
        key = new_key(kind)
        return Pair([certify("server", key, self.name, self.key, False, **options), self.intermediate], key,
                    password)

    def client(self, version=None, ciphers=None, alpn=None):
        """A context that trusts the root. version: the only one that is spoken."""
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.load_verify_locations(cadata=pem(self.root).decode())
        if ciphers:
            context.set_ciphers(ciphers)
        if version:
            context.minimum_version = context.maximum_version = version
        if alpn:
            context.set_alpn_protocols(alpn)
        return context


def tls_options(folder):
    """What a Worker needs so that it speaks TLS, its files in that folder, with an EC key as most certificates have now."""
    authority = Authority()
    pair, cert, key = authority.issue(), Path(folder, "chain.pem"), Path(folder, "key.pem")
    cert.write_bytes(pair.chain)
    key.write_bytes(pair.key)
    return {"tls": authority.client(), "TLS_CERT": cert, "TLS_KEY": key}
