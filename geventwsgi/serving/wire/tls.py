"""Make the TLS context of a server from its settings."""

from __future__ import annotations

import ssl
from typing import TYPE_CHECKING

from geventwsgi.errors import BindError

if TYPE_CHECKING:
    from geventwsgi.config.sources import Config

#: OpenSSL's SSL_OP_IGNORE_UNEXPECTED_EOF, for which not every Python that sets it has a name.
_IGNORE_UNEXPECTED_EOF = 1 << 7


def make_context(config: Config, context_class: type[ssl.SSLContext] | None = None) -> ssl.SSLContext:
    """Return a server's context: TLS 1.2 or newer, ALPN ``http/1.1``, then whatever the ``ssl_context`` hook changes.

    :param context_class: the class to make; the standard library's (patched or not) if None.
    :raises BindError: a file is missing or does not hold what it should.
    """

    def default_factory() -> ssl.SSLContext:
        return _default_context(config, context_class or ssl.SSLContext)

    context = config.ssl_context(config, default_factory)
    if not isinstance(context, ssl.SSLContext):
        raise BindError(
            f"The ssl_context hook returned {type(context).__name__}: return the ssl.SSLContext that "
            "default_ssl_context_factory() made, or one of your own"
        )
    return noticing_cuts(context)


def noticing_cuts(context: ssl.SSLContext) -> ssl.SSLContext:
    """Let a context tell an end without close_notify from one with it, which some versions of Python make it ignore.

    What such an end means is for :class:`~geventwsgi.serving.wire.tls_stream.TLSStream` to say.
    """
    context.options &= ~_IGNORE_UNEXPECTED_EOF
    return context


def _default_context(config: Config, context_class: type[ssl.SSLContext]) -> ssl.SSLContext:
    context = context_class(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_3 if config.ssl_version == "TLSv1_3" else ssl.TLSVersion.TLSv1_2
    if config.ssl_version == "TLSv1_2":
        context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.options |= ssl.OP_NO_COMPRESSION | ssl.OP_NO_RENEGOTIATION
    context.verify_mode = ssl.VerifyMode(config.cert_reqs)
    context.set_alpn_protocols(["http/1.1"])
    if not config.certfile:
        raise BindError("TLS needs a certificate: give --certfile FILE (and --keyfile FILE)")
    try:
        context.load_cert_chain(config.certfile, config.keyfile)
    except FileNotFoundError:
        names = " or ".join(name for name in (config.certfile, config.keyfile) if name)
        raise BindError(f"No such file: {names}: check --certfile and --keyfile") from None
    except PermissionError:
        raise BindError(f"No permission to read {config.certfile} or its key: check owner and mode") from None
    except (ssl.SSLError, OSError) as error:
        raise BindError(
            f"{config.certfile} and its key cannot be used ({error}): --certfile is a PEM chain, --keyfile its "
            "unencrypted private key"
        ) from error
    _load_client_authorities(context, config)
    if config.ciphers:
        try:
            context.set_ciphers(config.ciphers)
        except ssl.SSLError:
            raise BindError(f"--ciphers {config.ciphers!r} selects no cipher: see 'openssl ciphers'") from None
    return context


def _load_client_authorities(context: ssl.SSLContext, config: Config) -> None:
    if config.ca_certs:
        try:
            context.load_verify_locations(config.ca_certs)
        except (ssl.SSLError, OSError) as error:
            raise BindError(f"--ca-certs {config.ca_certs} cannot be used ({error}): it is a PEM file") from error
    elif context.verify_mode is not ssl.CERT_NONE:
        raise BindError("--cert-reqs asks for client certificates: give --ca-certs FILE to verify them against")
