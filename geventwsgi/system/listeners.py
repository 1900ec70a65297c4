"""Listening sockets: bound, inherited, checked, and removed again. It serves no connection.

Every failure is one :class:`BindError` line with its cause and cure.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
from contextlib import suppress
from typing import TYPE_CHECKING, Any, ClassVar

from geventwsgi.config.addresses import Address, FdAddress, TCPAddress, UnixAddress
from geventwsgi.errors import BindError
from geventwsgi.system.originals import original
from geventwsgi.system.privileges import give
from geventwsgi.trusted import Untrusted, find

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from geventwsgi.trusted import Place

#: SO_ACCEPTCONN where the socket module lacks it (macOS has it as 2).
ACCEPTCONN = getattr(socket, "SO_ACCEPTCONN", 2)


class Listener:
    """A listening socket, non-blocking and closed on exec, and the address that the operator gave for it.

    Where ``reuse_port`` is on, there is a socket for each worker's seat, all at the same address: the system spreads
    connections among them. The first is :attr:`sock`, and in a worker its own is.
    """

    #: All listeners that are open in this process.
    _open: ClassVar[set[Listener]] = set()

    def __init__(self, address: Address, sock: socket.socket) -> None:
        self.address = address
        self.sock = sock
        #: The sockets, by seat.
        self.socks = [sock]
        #: Whether each seat has a socket of its own.
        self.spreads = isinstance(address, TCPAddress) and _reuses_port(sock)
        self._open.add(self)
        #: A unix socket's file: its absolute path, device and inode.
        self._file: tuple[str, int, int] | None = None
        if isinstance(address, UnixAddress):
            path = os.path.abspath(address.path)
            with suppress(OSError), find(path, follow=False) as place:
                self._file = path, *_identity(place)

    def __str__(self) -> str:
        return self.url("http")

    def __getattr__(self, name: str) -> Any:
        """Return an attribute of the socket: hooks use a listener as one."""
        if name == "sock":  # the constructor has not set it yet
            raise AttributeError(name)
        return getattr(self.sock, name)

    @property
    def cfg_addr(self) -> Any:
        """The address that was bound, by gunicorn's name: host and port, or a path."""
        return self.sock.getsockname() if isinstance(self.address, FdAddress) else _plain(self.address)

    def fileno(self) -> int:
        """Return the socket's descriptor."""
        return self.sock.fileno()

    def url(self, scheme: str) -> str:
        """Return the address as the system tells it: ``http://127.0.0.1:43211``, ``unix:/path``."""
        if isinstance(self.address, UnixAddress):
            return f"unix:{self.address.path}"
        if self.sock.family not in (socket.AF_INET, socket.AF_INET6):
            return f"unix:{os.fsdecode(self.sock.getsockname())}"
        host, port = self.sock.getsockname()[:2]
        return f"{scheme}://{TCPAddress(host, port)}"

    def provide(self, seats: int) -> None:
        """Bind sockets until there is one for each of ``seats``. A new one listens when its worker is ready.

        :raises BindError: a socket cannot be bound.
        """
        while self.spreads and len(self.socks) < seats:
            sock = _new_socket(self.address, self.sock.family)
            try:
                _set_reuse(sock, port=True)
                sock.bind(self.sock.getsockname())
            except OSError as error:
                sock.close()
                raise BindError(_explain_tcp(self.address, error)) from None
            self.adopt(sock)

    def adopt(self, sock: socket.socket) -> None:
        """Add a socket for the next seat."""
        sock.setblocking(False)
        sock.set_inheritable(False)
        self.socks.append(sock)

    def withdraw(self, seats: int) -> None:
        """Close the sockets beyond ``seats``. Their workers have been told to serve what waits there."""
        while self.spreads and len(self.socks) > seats:
            self.socks.pop().close()

    def sit(self, seat: int) -> None:
        """Keep, in a worker, the socket of its seat alone."""
        self.sock = self.socks.pop(seat if self.spreads else 0)
        for sock in self.socks:
            sock.close()
        self.socks = [self.sock]

    def listen(self, backlog: int) -> None:
        """Let a seat's own socket accept connections."""
        if self.spreads:
            self.sock.listen(backlog)

    def close(self) -> None:
        """Close the sockets in this process."""
        for sock in self.socks:
            sock.close()
        self._open.discard(self)

    def remove(self) -> None:
        """Close, and remove a unix socket's file, unless another server has replaced it by its own.

        May be called after :meth:`close`.
        """
        self.close()
        if self._file is None:
            return
        path, *identity = self._file
        with suppress(OSError), find(path, follow=False) as place:
            if [*_identity(place)] == identity:
                os.unlink(place.name, dir_fd=place.directory)


def _plain(address: TCPAddress | UnixAddress) -> Any:
    return (address.host, address.port) if isinstance(address, TCPAddress) else address.path


def _identity(place: Place) -> tuple[int, int]:
    found = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False)
    return found.st_dev, found.st_ino


def close_others(listeners: Collection[Listener]) -> None:
    """Close all other listeners of this process. A worker that kept one open would keep its address in use."""
    for listener in Listener._open.difference(listeners):  # noqa: SLF001 - the class's own module
        listener.close()


def bind(addresses: Iterable[Address], cfg: Any, inherited: Mapping[str, list[int]] | None = None) -> list[Listener]:
    """Listen at all addresses, or at none.

    :param cfg: ``backlog``, ``reuse_port``, and ``umask`` for the files of unix sockets.
    :param inherited: descriptors of sockets that already listen, by the text of their address.
    :raises BindError: an address cannot be listened on; those bound before it are closed again.
    """
    listeners: list[Listener] = []
    try:
        for address in addresses:
            fds = (inherited or {}).get(str(address), [])
            listeners.append(_take_over(address, fds) if fds else _bind_one(address, cfg))
    except BindError:
        for listener in listeners:
            if inherited and str(listener.address) in inherited:
                listener.close()  # the process that passed it still listens there
            else:
                listener.remove()
        raise
    return listeners


def check_addresses(addresses: Iterable[Address], cfg: Any) -> None:
    """Find out, without listening, whether addresses can be listened on. One that is in use is no failure.

    :raises BindError: an address cannot be listened on.
    """
    seen = set()
    for address in addresses:
        if str(address) in seen and getattr(address, "port", None) != 0:
            raise BindError(f"{address} is in --bind twice: remove one")
        seen.add(str(address))
        check_address(address, cfg)


def overlap(one: Address, other: Address) -> bool:
    """Return whether only one of two addresses can be listened on at a time.

    :raises BindError: a host does not resolve, or a descriptor is no listening socket.
    """
    one, other = _bound(one), _bound(other)
    if isinstance(one, UnixAddress) and isinstance(other, UnixAddress):
        return os.path.abspath(one.path) == os.path.abspath(other.path)
    if not (isinstance(one, TCPAddress) and isinstance(other, TCPAddress) and one.port == other.port != 0):
        return False
    (family, (host, *_)), (other_family, (other_host, *_)) = _resolve(one), _resolve(other)
    hosts = {host, other_host}
    # :: is every address of IPv4 as well
    return len(hosts) == 1 or "::" in hosts or (family == other_family and "0.0.0.0" in hosts)  # noqa: S104


def _bound(address: Address) -> Address:
    """Return the address at which an inherited socket listens; any other address as it is."""
    if not isinstance(address, FdAddress):
        return address
    sock = _inherit(address)
    try:
        name = sock.getsockname()
    finally:
        sock.detach()
    return TCPAddress(*name[:2]) if isinstance(name, tuple) else UnixAddress(os.fsdecode(name))


def check_address(address: Address, cfg: Any) -> None:
    """Find out, without listening, whether an address can be listened on. One that is in use is no failure.

    :param cfg: ``reuse_port``, and ``uid`` and ``gid`` of the workers.
    :raises BindError: it cannot.
    """
    if isinstance(address, FdAddress):
        _inherit(address).detach()
    elif isinstance(address, UnixAddress):
        try:
            with find(address.path, (cfg.uid, cfg.gid), follow=False) as place:
                _check_unix(address, place)
        except OSError as error:
            raise BindError(_explain_unix(address, error)) from None
    else:
        family, where = _resolve(address)
        with _new_socket(address, family) as sock:
            _set_reuse(sock, port=cfg.reuse_port)
            try:
                sock.bind(where)
            except OSError as error:
                if error.errno != errno.EADDRINUSE:
                    raise BindError(_explain_tcp(address, error)) from None


def _check_unix(address: UnixAddress, place: Place) -> None:
    """Find out whether a unix socket's file can be made.

    :raises OSError: it cannot.
    """
    if not os.access(".", os.W_OK | os.X_OK, dir_fd=place.directory):
        raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    _finds_socket(address, place)
    with _new_socket(address, socket.AF_UNIX) as sock:
        try:
            sock.bind(b"/" * len(os.fsencode(_path_at(place, address))))  # the root: nothing is made
        except OSError as error:
            if error.errno is None:  # Python's own check of the length
                raise


def _finds_socket(address: UnixAddress, place: Place) -> bool:
    """Return whether a socket's file is there.

    :raises BindError: another file is, or a link that leads to none.
    """
    try:
        mode = os.stat(place.name, dir_fd=place.directory, follow_symlinks=False).st_mode
    except OSError:
        return False  # there is no file, or bind will fail with the reason
    if stat.S_ISLNK(mode) and place.private:
        try:
            mode = os.stat(place.name, dir_fd=place.directory).st_mode
        except OSError as error:
            cause = f"{address.path} is a symbolic link that leads to no file ({error.strerror})"
            raise BindError(f"{cause}: remove it or choose another --bind") from None
    if not stat.S_ISSOCK(mode):
        raise BindError(f"{address.path} exists and is not a socket: remove it or choose another --bind")
    return True


def _take_over(address: Address, fds: list[int]) -> Listener:
    """Return a listener with sockets that an earlier master has bound."""
    first, *others = [_from_descriptor(fd, address) for fd in fds]
    first.setblocking(False)
    first.set_inheritable(False)
    listener = Listener(address, first)
    for sock in others:
        listener.adopt(sock)
    return listener


def _reuses_port(sock: socket.socket) -> bool:
    option = getattr(socket, "SO_REUSEPORT", None)
    return option is not None and sock.getsockopt(socket.SOL_SOCKET, option) != 0


def _set_reuse(sock: socket.socket, *, port: bool) -> None:
    if os.name == "posix":  # elsewhere the option would share the port with other programs
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if port and hasattr(socket, "SO_REUSEPORT"):
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)


def _bind_one(address: Address, cfg: Any) -> Listener:
    if isinstance(address, FdAddress):
        sock = _inherit(address)
    elif isinstance(address, UnixAddress):
        sock = _bind_unix(address, cfg)
    else:
        sock = _bind_tcp(address, cfg)
    sock.setblocking(False)
    sock.set_inheritable(False)
    return Listener(address, sock)


def _bind_tcp(address: TCPAddress, cfg: Any) -> socket.socket:
    family, where = _resolve(address)
    sock = _new_socket(address, family)
    try:
        _set_reuse(sock, port=cfg.reuse_port)
        sock.bind(where)
        sock.listen(cfg.backlog)
    except OSError as error:
        sock.close()
        raise BindError(_explain_tcp(address, error)) from None
    return sock


def _resolve(address: TCPAddress) -> tuple[int, Any]:
    """Return family and socket address. A name with both an IPv4 and an IPv6 address gets IPv4, as under gunicorn."""
    getaddrinfo = original("socket", "getaddrinfo")
    host = address.host.encode() if address.host.isascii() else address.host  # text would load the tables of IDNA
    try:
        found = getaddrinfo(host or None, address.port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except (OSError, UnicodeError) as error:
        cause = getattr(error, "strerror", None) or error
        raise BindError(
            f"{address} cannot be listened on: the host {address.host!r} does not resolve ({cause}): check --bind"
        ) from None
    family, _, _, _, where = min(found, key=lambda one: one[0] != socket.AF_INET)
    return family, where


def _new_socket(address: Address, family: int) -> socket.socket:
    try:
        sock: socket.socket = original("socket", "socket")(family, socket.SOCK_STREAM)
    except OSError as error:
        raise BindError(f"{address} cannot be listened on: {error.strerror}") from None
    return sock


def _explain_tcp(address: Address, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"{address} is already in use: stop the other server or choose another --bind"
    if error.errno in (errno.EACCES, errno.EPERM):
        return f"no permission to listen on {address}: choose a port from 1024 up in --bind, or start as root"
    if error.errno == errno.EADDRNOTAVAIL:
        return f"{address} is not an address of this machine: choose another --bind"
    return f"{address} cannot be listened on: {error.strerror or error}: choose another --bind"


def _bind_unix(address: UnixAddress, cfg: Any) -> socket.socket:
    if not hasattr(socket, "AF_UNIX"):
        raise BindError(f"{address} cannot be listened on: this system has no unix sockets: choose HOST:PORT in --bind")
    try:
        with find(address.path, (cfg.uid, cfg.gid), follow=False) as place:
            _make_way(address, place)
            return _bind_at(place, address, cfg)
    except OSError as error:
        raise BindError(_explain_unix(address, error)) from None


def _path_at(place: Place, address: UnixAddress) -> str:
    """Return the path to bind. Other programs show it: it is the real one where no other user can redirect that."""
    return address.path if place.reached else f"/proc/self/fd/{place.directory}/{place.name}"


def _bind_at(place: Place, address: UnixAddress, cfg: Any) -> socket.socket:
    path = _path_at(place, address)
    sock = _new_socket(address, socket.AF_UNIX)
    umask = os.umask(cfg.umask)
    try:
        sock.bind(path)
        give(place, cfg)
        sock.listen(cfg.backlog)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(umask)
    return sock


def _make_way(address: UnixAddress, place: Place) -> None:
    """Remove the socket file of a server that is gone. Other files stay.

    :raises BindError: a server answers there, or the file is no socket.
    """
    if not _finds_socket(address, place):
        return
    sock = _new_socket(address, socket.AF_UNIX)
    try:
        sock.setblocking(False)
        sock.connect(address.path)
    except ConnectionRefusedError:
        with suppress(OSError):  # bind will fail with the reason
            os.unlink(place.name, dir_fd=place.directory)
    except BlockingIOError:
        raise BindError(_in_use(address)) from None  # its backlog is full
    except OSError as error:
        raise BindError(_explain_unix(address, error)) from None
    else:
        raise BindError(_in_use(address))
    finally:
        sock.close()


def _in_use(address: Address) -> str:
    return f"{address} is already in use: stop the other server or choose another --bind"


def _explain_unix(address: UnixAddress, error: OSError) -> str:
    path = address.path
    if isinstance(error, Untrusted):
        return f"{address} cannot be listened on: {error.strerror}"
    if error.errno is None:  # Python's own check of the length
        return f"{address} cannot be listened on: the path is longer than a unix socket's may be: choose a shorter one"
    if error.errno in (errno.ENOENT, errno.ENOTDIR):
        parent = os.path.dirname(os.path.abspath(path))
        return f"{address} cannot be listened on: {parent} is not a directory: create it first"
    if error.errno in (errno.EACCES, errno.EPERM, errno.EROFS):
        return f"no permission to create or replace {path} ({error.strerror}): choose another --bind or user"
    if error.errno == errno.EADDRINUSE:
        return _in_use(address)
    return f"{address} cannot be listened on: {error.strerror or error}: choose another --bind"


def _inherit(address: FdAddress) -> socket.socket:
    return _from_descriptor(address.fd, address)


def _from_descriptor(fd: int, address: Address) -> socket.socket:
    try:
        sock: socket.socket = original("socket", "socket")(fileno=fd)
    except OSError as error:
        raise BindError(
            f"{address} is not an open socket ({error.strerror}): let the parent process pass one"
        ) from None
    listening = sock.type == socket.SOCK_STREAM and sock.getsockopt(socket.SOL_SOCKET, ACCEPTCONN)
    if not listening:
        sock.detach()  # it is not ours to close
        raise BindError(f"{address} is a socket that does not listen: let the parent process call listen() on it")
    return sock
