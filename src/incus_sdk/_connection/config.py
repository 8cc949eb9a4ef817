"""The configuration directory of the ``incus`` command: its remotes, and their certificates.

The command and the SDK can use it at the same time: what is not changed here is kept, and files are replaced whole.
"""

from __future__ import annotations

import contextlib
import errno
import itertools
import os
import re
import ssl
from collections.abc import Generator, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._atomic import atomic_file, locked
from ..exceptions import IncusInputError
from .config_file import Content, insert_remote, parse, remove_remote, rename_remote, set_default, set_field
from .discovery import local_socket
from .endpoint import Endpoint, without_secrets
from .wire import texts

NEW_FILE = """\
default-remote: local
remotes:
  images:
    addr: https://images.linuxcontainers.org
    protocol: simplestreams
    public: true
  local:
    addr: unix://
    protocol: incus
    public: false
"""

LOCAL = {"addr": "unix://", "protocol": "incus", "public": False}
IMAGES = {"addr": "https://images.linuxcontainers.org", "protocol": "simplestreams", "public": True}

_LOCAL_SOCKET = "unix://"
"""What the command has for the socket that it looks for."""
_NAME = r"(?!<<$)[^.:/][^:/]{0,99}"  # Newer versions of the command take << for YAML's, even quoted.
_SERVERS_OF_IMAGES = ("docker", "gcr", "ghcr", "images", "local", "oci", "quay", "ubuntu")
"""Names that are for others than a server that proposes one of them: ``docker:nginx`` must not lead there."""


@dataclass(frozen=True)
class Remote:
    """A server in the command's configuration; `Client` takes one in place of an endpoint.

    Args:
        name: Its name in the configuration; empty if it has none.
        addresses: Its addresses, in the order in which they are tried.
        project: The project of requests; None is the server's default.
        protocol: ``incus``; or ``simplestreams`` or ``oci``, for servers of images.
        auth_type: ``tls`` or ``oidc``.
        public: Whether it only gives out images, to anybody.
        cert: The client's certificate and key, if they exist.
        server_cert: The server's own certificate, if it is pinned.
        ca: The authority whose servers are trusted (PKI), if there is one.
        tokens: The cache of the tokens of a login by OpenID Connect.
        origin: Where the addresses come from, in words.
    """

    name: str
    addresses: tuple[str, ...]
    project: str | None = None
    protocol: str = "incus"
    auth_type: str = "tls"
    public: bool = False
    cert: tuple[Path, Path] | None = None
    server_cert: Path | None = None
    ca: Path | None = None
    tokens: Path | None = None
    origin: str = field(default="", compare=False)


def to_connect(remote: Remote, environ: Mapping[str, str] = os.environ) -> Remote:
    """A remote with the path of the local daemon's socket, where it is that; raises `IncusInputError` for no server."""
    name = remote.name or "without a name"
    if not remote.addresses:
        raise IncusInputError(f"{remote.origin or f'the remote {name}'} has no address")
    if remote.protocol != "incus":
        raise IncusInputError(f"the remote {name} is a server of images, without instances to work with")
    addresses, project, origin = texts(remote.addresses, "addresses"), remote.project, remote.origin
    for number, address in enumerate(addresses):
        if address == _LOCAL_SOCKET:
            found = local_socket(environ)
            addresses[number], project, origin = f"unix://{found.path}", project or found.project, found.origin
    return replace(remote, addresses=tuple(addresses), project=project, origin=origin)


class ClientConfig:
    """The ``incus`` command's configuration; each method reads it again.

    Args:
        directory: Its directory; None takes that of INCUS_CONF, or ``~/.config/incus``.
        environ: The environment variables to use.
    """

    def __init__(
        self, directory: str | os.PathLike[str] | None = None, environ: Mapping[str, str] = os.environ
    ) -> None:
        self._environ = environ
        self.directory = Path(directory) if directory is not None else _default_directory(environ)
        self.global_directory = Path(environ.get("INCUS_GLOBAL_CONF") or "/etc/incus")

    @property
    def file(self) -> Path:
        """``config.yml``."""
        return self.directory / "config.yml"

    @property
    def default_remote(self) -> str:
        """The name of the default remote: INCUS_REMOTE, or that in the file, or ``local``."""
        return self._environ.get("INCUS_REMOTE") or _read(self.file).default_remote or "local"

    def remotes(self) -> dict[str, Remote]:
        """Read all remotes by name: the user's, those of the whole machine, and ``local``.

        Raises:
            IncusInputError: A file cannot be read, or is not a configuration.
        """
        text = _read_text(self.file)
        own = {"images": IMAGES} if text is None else parse(text, self.file).remotes
        everywhere = _read(self.global_directory / "config.yml").remotes
        local = {**LOCAL, "project": own.get("local", {}).get("project")}
        return {
            **{name: self._parse_remote(name, entry, self.global_directory) for name, entry in everywhere.items()},
            **{name: self._parse_remote(name, entry, self.directory) for name, entry in own.items()},
            "local": self._parse_remote("local", local, self.directory),
        }

    def remote(self, name: str | None = None) -> Remote:
        """Read a remote to connect to: with the path of the local daemon's socket, and the project of INCUS_PROJECT.

        Args:
            name: The remote; None is the default one.

        Raises:
            IncusInputError: There is no such remote, it has no address, or it is a server of images.
        """
        remote = to_connect(self._known(name or self.default_remote), self._environ)
        return replace(remote, project=self._environ.get("INCUS_PROJECT") or remote.project)

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """The paths of the client's own certificate and key, which need not exist."""
        return self.directory / "client.crt", self.directory / "client.key"

    def new_remote(self, name: str) -> Remote:
        """Prepare a remote without an address, which `add` can write; makes the client's certificate if there is none.

        Args:
            name: Its name; it can be empty.

        Raises:
            IncusInputError: Only one of certificate and key exists, or they cannot be written.
        """
        certificate, key = self.client_cert
        with self.lock():
            if not _exist(certificate, key):
                self._make_client_cert(certificate, key)
        return self._parse_remote(name, {}, self.directory)

    def _make_client_cert(self, certificate: Path, key: Path) -> None:
        import socket

        from .tls import make_pair

        half = IncusInputError(f"only one of {certificate} and {key} exists: restore the other, or remove it")
        if _exist(certificate):
            raise half
        with _explain_errors(key):
            # A process that ended between the two leaves a key, which loses nothing by getting a certificate.
            known = key.read_text() if _exist(key) else None
        try:
            texts = make_pair(f"{_user_name()}@{socket.gethostname()}", known)
        except ValueError:
            raise half from None
        if known is None:
            write(key, texts[1], 0o600)
        write(certificate, texts[0])

    def add(self, remote: Remote, *, by_name: str | None = None, server_cert: bytes | None = None) -> None:
        """Write a new remote.

        Args:
            remote: The remote.
            by_name: What a remote without a name is named after; a number is added to a name that is taken, or that
                users expect to be a server of images.
            server_cert: The server's certificate (DER), which is pinned from then on.

        Raises:
            IncusInputError: The name is invalid or taken, or a file cannot be written.
        """
        with self.lock():
            name = remote.name or self._free_name(by_name)
            self.check_new_name(name)
            text = self._text_with(name, remote)
            pinned = self.directory / "servercerts" / f"{name}.crt"
            with _explain_errors(pinned):
                pinned.unlink(missing_ok=True)  # it can be left from a remote that was removed
            if server_cert is not None:
                write(pinned, ssl.DER_cert_to_PEM_cert(server_cert))
            write(self.file, text)  # last, since the remote is there with it

    def remove(self, name: str) -> None:
        """Remove a remote, with the certificate that was pinned for it and its login.

        Args:
            name: The remote.

        Raises:
            IncusInputError: There is no such remote, it is the default one, it is ``local`` or of the whole machine, or
                the file cannot be written.
        """
        with self.lock():
            text = self._own_text(name)
            if name == (_read(self.file).default_remote or "local"):
                raise IncusInputError(f"{name} is the default remote: make another one the default first")
            write(self.file, remove_remote(text, self.file, name))
            for file in self._files_of(name)[:2]:
                with _explain_errors(file):
                    file.unlink(missing_ok=True)

    def rename(self, name: str, new_name: str) -> None:
        """Rename a remote, with its certificates and its login; the default one stays that.

        Args:
            name: The remote.
            new_name: Its new name.

        Raises:
            IncusInputError: There is no such remote, it is ``local`` or of the whole machine, the new name is invalid
                or taken, or a file cannot be written.
        """
        with self.lock():
            text = self._own_text(name)
            self.check_new_name(new_name)
            changed = rename_remote(text, self.file, name, new_name)
            # First, so that a process which ends between leaves a remote that nobody vouches for, and can be repeated.
            for old, new in zip(self._files_of(name), self._files_of(new_name), strict=True):
                with _explain_errors(new):
                    if _exist(old):
                        os.replace(old, new)
                    else:
                        new.unlink(missing_ok=True)  # it can be left from a remote that was removed
            write(self.file, changed)

    def set_default(self, name: str) -> None:
        """Make a remote the default one.

        Args:
            name: The remote.

        Raises:
            IncusInputError: There is no such remote, or the file cannot be written.
        """
        with self.lock():
            self._known(name)
            write(self.file, set_default(self._text(), self.file, name))

    def set_project(self, name: str, project: str) -> None:
        """Switch the project in which a remote is used, like ``incus project switch``.

        Args:
            name: The remote; ``local`` has a project, too.
            project: The project; ``default`` is the server's default one. It is not looked for.

        Raises:
            IncusInputError: There is no such remote, it is of the whole machine, ``project`` is empty, or the file
                cannot be written.
        """
        if not isinstance(project, str) or not project:
            raise IncusInputError(f"project must be a name, not {project!r}")
        with self.lock():
            if name == "local" and name not in parse(text := self._text(), self.file).remotes:
                write(self.file, insert_remote(text, self.file, name, {**LOCAL, "project": project}))
            else:
                text = self._own_text(name, local=True)
                write(self.file, set_field(text, self.file, name, "project", project))

    def set_addresses(self, name: str, addresses: Sequence[str]) -> None:
        """Replace the addresses of a remote.

        Args:
            name: The remote.
            addresses: Its addresses, in the order in which they are tried.

        Raises:
            IncusInputError: There is no such remote, it is ``local`` or of the whole machine, there is no address, or
                the file cannot be written.
        """
        with self.lock():
            text = self._own_text(name)
            written = _joined(addresses, name, self._known(name).protocol)
            write(self.file, set_field(text, self.file, name, "addr", written))

    def _text(self) -> str:
        return NEW_FILE if (text := _read_text(self.file)) is None else text

    def _own_text(self, name: str, *, local: bool = False) -> str:
        """The text of the user's file, which has this remote."""
        self._known(name)
        if name == "local" and not local:
            raise IncusInputError("the remote local is the daemon of this machine, and always there")
        text = self._text()
        if name not in parse(text, self.file).remotes:
            raise IncusInputError(f"the remote {name} is in {self.global_directory}, for the whole machine")
        return text

    def _known(self, name: str) -> Remote:
        remotes = self.remotes()
        if not isinstance(name, str) or name not in remotes:
            # The beginning of a token that somebody takes for a name has no secret.
            shown = f"{name[:80]}..." if isinstance(name, str) and len(name) > 100 else name
            raise IncusInputError(f"{self.file} has no remote {shown!r}, only {', '.join(sorted(remotes))}")
        return remotes[name]

    def _files_of(self, name: str) -> list[Path]:
        """What a remote can have beside the file: the server's certificate, the login, a client certificate."""
        own = self.directory / "clientcerts"
        return [
            self.directory / "servercerts" / f"{name}.crt",
            self.directory / "oidctokens" / f"{name}.json",
            *(own / f"{name}{suffix}" for suffix in (".crt", ".key", ".ca")),
        ]

    def check_add(self, remote: Remote) -> None:
        """Check that `add` can write a remote, whatever its name will be; makes no more than directories.

        Args:
            remote: The remote, with or without a name.

        Raises:
            IncusInputError: The name is invalid or taken, or a file cannot be read or written.
        """
        with self.lock():
            name = remote.name or self._free_name(None)
            self.check_new_name(name)
            self._text_with(name, remote)
            pinned = self.directory / "servercerts" / f"{name}.crt"
            with _explain_errors(pinned):
                make_directory(pinned.parent)
            for file in (pinned, self.file):
                directory = Path(os.path.realpath(file)).parent
                if not os.access(directory, os.W_OK | os.X_OK):
                    raise IncusInputError(f"{file} cannot be written: {directory} is not writable")

    def _text_with(self, name: str, remote: Remote) -> str:
        """The text of the file with one more remote."""
        if remote.project is not None and (not isinstance(remote.project, str) or not remote.project):
            raise IncusInputError(f"project must be a name, not {remote.project!r}")
        entry = {
            "addr": _joined(remote.addresses, name, remote.protocol),
            "auth_type": remote.auth_type if remote.protocol == "incus" else None,
            "project": remote.project,
            "protocol": remote.protocol,
            "public": remote.public,
        }
        return insert_remote(
            self._text(), self.file, name, {key: value for key, value in entry.items() if value is not None}
        )

    def check_new_name(self, name: str) -> None:
        """Check that a new remote can have a name.

        Args:
            name: The name.

        Raises:
            IncusInputError: It is invalid or taken.
        """
        if not isinstance(name, str) or not re.fullmatch(_NAME, name) or not name.isprintable():
            raise IncusInputError(
                f"{name!r} is not a name for a remote: it must not be empty or long, contain : or / or control "
                "characters, or begin with ."
            )
        if (known := self.remotes().get(name)) is not None:
            raise IncusInputError(f"there is already a remote {name}, at {', '.join(known.addresses)}")

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Keep other processes of the SDK from changing the directory meanwhile; makes it if there is none.

        Raises:
            IncusInputError: It cannot be made or opened.
        """
        with contextlib.ExitStack() as stack:
            with _explain_errors(self.directory):
                make_directory(self.directory)
                stack.enter_context(locked(self.directory))
            yield

    def _free_name(self, proposal: object) -> str:
        """A valid name that is not taken; the server proposes it, so it can be anything."""
        name = re.sub(r"[^\w.-]", "-", proposal if isinstance(proposal, str) else "").lstrip(".-")[:63] or "incus"
        taken = {each.casefold() for each in (*self.remotes(), *_SERVERS_OF_IMAGES)}
        names = itertools.chain((name,), (f"{name}-{number}" for number in itertools.count(2)))
        return next(name for name in names if name.casefold() not in taken)

    def _parse_remote(self, name: str, entry: dict[str, Any], directory: Path) -> Remote:
        # The command also takes ``unix:/path`` for ``unix:///path``.
        written = (address.strip() for address in str(entry.get("addr") or "").split(","))
        addresses = [re.sub("^unix:(//)?", "unix://", address) for address in written if address]
        if (last := entry.get("last_working_address")) in addresses:
            at = addresses.index(last)
            addresses = addresses[at:] + addresses[:at]
        pair = self.directory / "clientcerts" / f"{name}.crt", self.directory / "clientcerts" / f"{name}.key"
        pair = pair if _exist(*pair) else self.client_cert
        ca, server_cert = pair[0].with_suffix(".ca"), directory / "servercerts" / f"{name}.crt"
        project = entry.get("project") or ""
        return Remote(
            name,
            tuple(addresses),
            project=None if project in ("", "default") else str(project),
            protocol=entry.get("protocol") or "incus",
            auth_type=entry.get("auth_type") or "tls",
            public=bool(entry.get("public")),
            cert=pair if _exist(*pair) else None,
            server_cert=server_cert if _exist(server_cert) else None,
            ca=ca if _exist(ca) else None,
            tokens=self.directory / "oidctokens" / f"{name}.json",
            origin=f"the remote {name} in {directory / 'config.yml'}",
        )


def write(file: Path, text: str, mode: int = 0o644) -> None:
    """Replace a file whole, and make its parents; a file that exists keeps its mode, unless it is a secret now."""
    with _explain_errors(file):
        content = text.encode()
        make_directory(file.parent)
    with atomic_file(file, mode, keep_mode=bool(mode & 0o077)) as stream:
        stream.write(content)


def make_directory(directory: Path) -> None:
    """Make a directory and its parents, into which others cannot write, whatever the umask is."""
    if directory.parts[:1] == ("~",):
        raise OSError(errno.ENOENT, "there is no home directory; set HOME or INCUS_CONF")
    missing = itertools.takewhile(lambda each: not each.exists(), (directory, *directory.parents))
    for each in reversed(list(missing)):
        each.mkdir(0o750 if each == directory else 0o700, exist_ok=True)


def _joined(addresses: Iterable[str], name: str, protocol: str) -> str:
    """Addresses as the file has them; raises `IncusInputError` for what would be read as something else."""
    written = texts(addresses, "addresses")
    if not written:
        raise IncusInputError(f"a remote needs an address: {name} would have none")
    for address in written:
        if protocol != "incus":
            if not re.fullmatch(r"https://[^\s,]+", address):
                shown = without_secrets(address)
                raise IncusInputError(f"{shown!r} is not the address of a server of images: write https://host")
        elif address != _LOCAL_SOCKET:
            Endpoint.parse(address)
            if "," in address or not address.isprintable():
                raise IncusInputError(f"{without_secrets(address)!r} cannot be written as the address of a remote")
    return ",".join(written)


def _user_name() -> str:
    try:
        import pwd

        return pwd.getpwuid(os.geteuid()).pw_name
    except (ImportError, KeyError):  # another system, or a container
        return "UNKNOWN"


def _default_directory(environ: Mapping[str, str]) -> Path:
    if given := environ.get("INCUS_CONF"):
        return Path(given)
    # Newer versions of the command follow XDG_CONFIG_HOME, older ones do not know it.
    newer = Path(environ.get("XDG_CONFIG_HOME") or ".", "incus")
    if newer.is_absolute() and os.path.isdir(newer):
        return newer
    home = environ.get("HOME") or ""
    return Path(home if home and os.path.exists(home) else os.path.expanduser("~"), ".config", "incus")


def _read(file: Path) -> Content:
    return parse(_read_text(file) or "", file)


def _read_text(file: Path) -> str | None:
    with _explain_errors(file):
        try:
            return file.read_bytes().decode()
        except (FileNotFoundError, NotADirectoryError):
            return None


def _exist(*files: Path) -> bool:
    return all(os.path.exists(file) for file in files)


@contextlib.contextmanager
def _explain_errors(file: Path) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise IncusInputError(f"{file} cannot be used: {getattr(error, 'strerror', None) or error}") from None
