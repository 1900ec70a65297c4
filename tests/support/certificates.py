"""Certificates for tests, from an authority that is made on the fly and trusted by nobody else."""

from __future__ import annotations

import atexit
import functools
import ssl
import tempfile
from dataclasses import dataclass
from pathlib import Path

import trustme

#: As it is when tests are imported; a test's own temporary directory goes with the test.
TEMPORARY = tempfile.gettempdir()


@dataclass(frozen=True, slots=True)
class Certificates:
    """PEM files: a server's for localhost, 127.0.0.1 and ::1, a client's, and the authority that signed both."""

    certfile: str
    keyfile: str
    ca_certs: str
    client_certfile: str
    client_keyfile: str

    @property
    def flags(self) -> tuple[str, ...]:
        """The server's command line flags."""
        return ("--certfile", self.certfile, "--keyfile", self.keyfile)

    def client_context(self, *, with_certificate: bool = False) -> ssl.SSLContext:
        """Return a client's context that trusts the authority; it shows its own certificate if told to."""
        context = ssl.create_default_context(cafile=self.ca_certs)
        if with_certificate:
            context.load_cert_chain(self.client_certfile, self.client_keyfile)
        return context


def make_certificates(directory: Path) -> Certificates:
    """Make an authority and what it signs in ``directory``."""
    directory.mkdir(parents=True, exist_ok=True)
    authority = trustme.CA(key_type=trustme.KeyType.ECDSA)
    authority.cert_pem.write_to_path(directory / "ca.pem")
    for name, identities in (("server", ("localhost", "127.0.0.1", "::1")), ("client", ("client@example.test",))):
        issued = authority.issue_cert(*identities, key_type=trustme.KeyType.ECDSA)
        issued.private_key_pem.write_to_path(directory / f"{name}.key")
        with (directory / f"{name}.pem").open("wb") as file:
            for blob in issued.cert_chain_pems:
                file.write(blob.bytes())
    paths = ("server.pem", "server.key", "ca.pem", "client.pem", "client.key")
    return Certificates(*(str(directory / path) for path in paths))


@functools.cache
def certificates() -> Certificates:
    """Return one set of certificates for the whole test process; its directory goes when the process ends."""
    directory = tempfile.TemporaryDirectory(prefix="gwsgi-certificates-", dir=TEMPORARY)
    atexit.register(directory.cleanup)
    return make_certificates(Path(directory.name))
