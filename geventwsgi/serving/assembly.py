"""The parts of a server, made of its settings."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

from gevent import GreenletExit

from geventwsgi.http.forwarded import forwarded_client
from geventwsgi.http.limits import Leniency, Limits
from geventwsgi.mesh.place import HERE
from geventwsgi.observe.log import Logger
from geventwsgi.serving.accept.entrance import Entrance
from geventwsgi.serving.accept.service import Service
from geventwsgi.serving.accept.timeouts import Timeouts
from geventwsgi.serving.accept.trust import ProxyProtocol, trust
from geventwsgi.serving.http1.http1_policy import Forwarding, Http1Policy
from geventwsgi.serving.loop.deadlines import Deadlines
from geventwsgi.serving.pages.health import Health
from geventwsgi.serving.request.lane import Policy
from geventwsgi.serving.wire.outbox import outbox_of
from geventwsgi.serving.wire.sending import Common
from geventwsgi.wsgi.environ import EnvironBuilder
from geventwsgi.wsgi.gateway import Gateway

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable

    from gevent.event import Event

    from geventwsgi.config.sources import Config
    from geventwsgi.http.fields import Fields
    from geventwsgi.observe.access import Record
    from geventwsgi.observe.tally import Tally
    from geventwsgi.serving.accept.capacity import Capacity
    from geventwsgi.serving.http1.http1_affinity import Affinity, Places
    from geventwsgi.serving.http1.http1_policy import Page
    from geventwsgi.serving.loop.runners import Runners
    from geventwsgi.serving.moving.moves import Moves
    from geventwsgi.serving.wire.poller import Poller
    from geventwsgi.wsgi.identified import Identities
    from geventwsgi.wsgi.response import LastHead

#: A head may be as long as this, or as its two largest lines where those are allowed to be longer.
MIN_HEAD = 65536


def service_of(
    config: Config, poller: Poller, capacity: Capacity, runners: Runners, log: Logger, tls: ssl.SSLContext | None,
    *, loop: Any, keeps_greenlets: bool,
) -> Service:  # fmt: skip
    """Return what the connections of one server share.

    :param keeps_greenlets: whether a connection has a greenlet while it is idle.
    """
    deadlines = Deadlines(loop)
    common = Common(
        poller, deadlines, outbox_of(deadlines.hub), capacity.places, config.write_timeout, config.write_min_rate
    )
    policy = Policy(
        deadlines,
        log,
        cancels=config.on_disconnect == "cancel",
        half_close_ends=config.half_close == "gone",
        timed=timed(config),
    )
    return Service(
        common, capacity, runners, Timeouts(config), entrance_of(config, tls), policy,
        keeps_greenlets=keeps_greenlets, greenlet_per_request=config.greenlet_per_request,
    )  # fmt: skip


def timed(config: Config) -> bool:
    """Return whether anybody may ask for how long a request has run."""
    return bool(config.request_timeout or config.slow_request_threshold or config.is_observed)


def entrance_of(config: Config, tls: ssl.SSLContext | None) -> Entrance:
    """Return what comes before a connection's first request."""
    trusts = trust(config.forwarded_allow_ips)
    return Entrance(trusts, tls, proxies_of(config), suppress_ragged_eofs=config.suppress_ragged_eofs)


def gateway_of(
    config: Config, application: Any, base: dict[str, Any], log: Logger,
    *, errors: Any, on_record: Callable[[Record], None] | None, tally: Tally | None, worker: Any,
    places: Places | None,
) -> Gateway:  # fmt: skip
    """Return what calls the application.

    :param base: what every environ starts from.
    :param worker: the first argument of hooks; None in a script.
    """

    def hook(name: str) -> Callable[..., object] | None:
        function = config.hook(name)
        return None if function is None else partial(function, worker)

    return Gateway(
        application,
        EnvironBuilder(base, header_map=config.header_map, forwarder_headers=config.forwarder_headers),
        log,
        debug=config.debug,
        use_sendfile=config.sendfile and hasattr(os, "sendfile"),
        on_record=on_record,
        tally=tally,
        pre_request=hook("pre_request"),
        post_request=hook("post_request"),
        shows=type(log).access is not Logger.access,
        identities=identities(config),
        last_head=last_head_of(config, places, log),
        errors=errors,
        # A worker takes INT by its loop: there, KeyboardInterrupt is the application's own.
        interrupts=(KeyboardInterrupt, GreenletExit) if worker is None else (GreenletExit,),
    )


def http1_policy_of(
    config: Config, gateway: Gateway, scheme: str, *, on_record: Callable[[Record], object] | None,
    pages: dict[str, Page] | None, tally: Tally | None, affinity: Affinity | None = None,
) -> Http1Policy:  # fmt: skip
    """Return what holds for HTTP/1 requests.

    :param scheme: how clients speak to the server.
    """
    forwarding = Forwarding(scheme, config.secure_scheme_headers, client_of(config))
    return Http1Policy(
        gateway, limits_of(config), leniency_of(config), forwarding,
        server_header=config.server_header, on_record=on_record, pages=pages, tally=tally, affinity=affinity,
    )  # fmt: skip


def places_of(config: Config) -> Places | None:
    """Return the places of the workers, where the settings have requests served by certain ones."""
    if config.affinity == "off" or HERE.passing is None or HERE.whereabouts is None:
        return None
    from geventwsgi.serving.http1.http1_affinity import Places

    return Places(HERE.passing.slot, HERE.whereabouts)


def affinity_of(config: Config, places: Places | None, moves: Moves | None) -> Affinity | None:
    """Return what has requests served by the workers that they belong to; None if nothing asks for that."""
    if places is None or moves is None:
        return None
    from geventwsgi.serving.http1 import http1_affinity

    how, _, name = config.affinity.partition(":")
    return http1_affinity.affinity_of(how, name, moves, places, client_of(config))


def last_head_of(config: Config, places: Places | None, log: Logger) -> LastHead | None:
    """Return what has responses lead their clients back to this worker; None where nothing asks for that."""
    how, _, name = config.affinity.partition(":")
    if places is None or how == "address":
        return None
    from geventwsgi.serving.request.sticky import Learns, SetsCookie

    return SetsCookie(log, name, places) if how == "cookie" else Learns(log, name.lower(), places.learn)


def handshake_wrapper(config: Config, places: Places | None) -> Callable[[Any], Any]:
    """Return what notes the sessions of an application of Socket.IO, where the settings ask for it."""
    if places is None or config.affinity != "query:sid":
        return lambda application: application
    from geventwsgi.serving.request.sticky import LearnsHandshakes

    return partial(LearnsHandshakes, learn=places.learn)


def pages_of(config: Config, is_ready: Callable[[], bool], draining: Event) -> dict[str, Page] | None:
    """Return what the server answers itself, by path; None if there is nothing."""
    if config.health_path is None:
        return None
    return {config.health_path: Health(lambda: is_ready() and not draining.is_set())}


def websocket_wrapper(config: Config) -> Callable[[Any], Any]:
    """Return what gives an application ``environ["wsgi.websocket"]``, where the settings ask for it."""
    if not config.wsgi_websocket:
        return lambda application: application
    from geventwsgi.wsgi.websocket import PingTimes, WebSocketMiddleware  # few servers need it

    pings = PingTimes(config.websocket_ping_interval, config.websocket_ping_timeout)
    return partial(WebSocketMiddleware, max_size=config.websocket_max_message_size, pings=pings)


def identities(config: Config) -> Identities | None:
    """Return what gives each request an identity; None if the settings ask for none."""
    if config.request_id_header is None:
        return None
    from geventwsgi.wsgi.identified import Identities  # few servers need it

    return Identities(config.request_id_header)


def proxies_of(config: Config) -> ProxyProtocol | None:
    """Return which PROXY headers the settings ask for, None for none."""
    if config.proxy_protocol == "off":
        return None
    return ProxyProtocol(config.proxy_protocol, trust(config.proxy_allow_ips))


def client_of(config: Config) -> Callable[[Fields], tuple[str, int] | None] | None:
    """Return what reads a request's client from its fields, None where it is the peer."""
    if config.remote_addr_from_forwarded == "off":
        return None
    # That every peer is believed does not make a proxy of every address that one names.
    proxies = [address for address in config.forwarded_allow_ips if address != "*"]
    return partial(forwarded_client, header=config.remote_addr_from_forwarded, trusts=trust(proxies))


def limits_of(config: Config) -> Limits:
    """Return the bounds of a request as the settings have them."""
    line, field_size = config.limit_request_line, config.limit_request_field_size
    head = max(MIN_HEAD, line + field_size) if line and field_size else 0
    return Limits(line, config.limit_request_fields, field_size, head, config.limit_request_body)


def leniency_of(config: Config) -> Leniency:
    """Return which faults of a request are let through, as the settings have it."""
    return Leniency(
        folding=config.permit_obsolete_folding,
        spaces=config.strip_header_spaces,
        method=config.permit_unconventional_http_method,
        version=config.permit_unconventional_http_version,
        casefold=config.casefold_http_method,
    )
