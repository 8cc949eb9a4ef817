"""The configuration directory of the ``incus`` command: its remotes, and their certificates.

The command and the SDK can use it at the same time: keys that are unknown here are kept, and files are replaced whole.
"""

from __future__ import annotations

import contextlib
import itertools
import os
import re
import ssl
from collections.abc import Generator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from .._atomic import atomic_file
from ..exceptions import IncusInputError
from .discovery import local_socket

LOCAL = {"addr": "unix://", "protocol": "incus", "public": False}
IMAGES = {"addr": "https://images.linuxcontainers.org", "protocol": "simplestreams", "public": True}


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
        return self._environ.get("INCUS_REMOTE") or str(_read(self.file).get("default-remote") or "local")

    def remotes(self) -> dict[str, Remote]:
        """Read all remotes by name: the user's, those of the whole machine, and ``local``.

        Raises:
            IncusInputError: A file cannot be read, or is not a configuration.
        """
        own = _read_remotes(self.file) if self.file.exists() else {"images": IMAGES}
        everywhere = _read_remotes(self.global_directory / "config.yml")
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
        name = name or self.default_remote
        remotes = self.remotes()
        if name not in remotes:
            raise IncusInputError(f"{self.file} has no remote {name!r}, only {', '.join(sorted(remotes))}")
        remote = remotes[name]
        if not remote.addresses:
            raise IncusInputError(f"{self.file}: the remote {name} has no address")
        if remote.protocol != "incus" or remote.public:
            raise IncusInputError(f"the remote {name} is a server of images, without instances to work with")
        addresses, project, origin = list(remote.addresses), remote.project, remote.origin
        for number, address in enumerate(addresses):
            if address == "unix://":
                found = local_socket(self._environ)
                addresses[number], project, origin = f"unix://{found.path}", project or found.project, found.origin
        project = self._environ.get("INCUS_PROJECT") or project
        return replace(remote, addresses=tuple(addresses), project=project, origin=origin)

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
            if _exist(certificate) != _exist(key):
                raise IncusInputError(f"only one of {certificate} and {key} exists: restore the other, or remove it")
            if not _exist(key):
                import socket

                from .tls import make_pair

                texts = make_pair(f"{_user_name()}@{socket.gethostname()}")
                write(key, texts[1], 0o600)
                write(certificate, texts[0])
        return self._parse_remote(name, {}, self.directory)

    def add(self, remote: Remote, *, by_name: str | None = None, server_cert: bytes | None = None) -> None:
        """Write a new remote.

        Args:
            remote: The remote.
            by_name: The name for a remote without one; if it is taken, a number is added.
            server_cert: The server's certificate (DER), which is pinned from then on.

        Raises:
            IncusInputError: The name is invalid or taken, or a file cannot be written.
        """
        entry = {
            "addr": ",".join(remote.addresses),
            "auth_type": remote.auth_type,
            "project": remote.project,
            "protocol": remote.protocol,
            "public": remote.public,
        }
        with self.lock():
            name = remote.name or self._free_name(by_name or "incus")
            self.check_new_name(name)
            document: dict[str, Any] = _read(self.file)
            if not self.file.exists():
                document = {"default-remote": "local", "remotes": {"images": IMAGES, "local": LOCAL}}
            remotes: dict[Any, Any] = dict(document.get("remotes") or {})
            remotes[name] = {key: value for key, value in entry.items() if value is not None}
            pinned = self.directory / "servercerts" / f"{name}.crt"
            with _explain_errors(pinned):
                pinned.unlink(missing_ok=True)  # it can be left from a remote that was removed
            if server_cert is not None:
                write(pinned, ssl.DER_cert_to_PEM_cert(server_cert))
            write(self.file, _dump({**document, "remotes": remotes}))

    def check_new_name(self, name: str) -> None:
        """Check that a new remote can have a name.

        Args:
            name: The name.

        Raises:
            IncusInputError: It is invalid or taken.
        """
        if not isinstance(name, str) or not name or name[0] == "." or any(bad in name for bad in ":/\0\n"):
            raise IncusInputError(
                f"{name!r} is not a name for a remote: it must not be empty, contain : or /, or begin with ."
            )
        if (known := self.remotes().get(name)) is not None:
            raise IncusInputError(f"there is already a remote {name}, at {', '.join(known.addresses)}")

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Keep other processes of the SDK from changing the directory meanwhile; makes it if there is none.

        Raises:
            IncusInputError: It cannot be made or opened.
        """
        import fcntl

        with _explain_errors(self.directory):
            self.directory.mkdir(0o750, parents=True, exist_ok=True)
            directory = os.open(self.directory, os.O_RDONLY)
        try:
            fcntl.flock(directory, fcntl.LOCK_EX)
            yield
        finally:
            os.close(directory)

    def _free_name(self, name: str) -> str:
        names = itertools.chain((name,), (f"{name}-{number}" for number in itertools.count(2)))
        return next(itertools.dropwhile(self.remotes().__contains__, names))

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
    """Replace a file whole, and make its parents; a file that exists keeps its mode."""
    with _explain_errors(file):
        file.parent.mkdir(0o750, parents=True, exist_ok=True)
    with atomic_file(file, mode) as stream:
        stream.write(text.encode())


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
    if newer.is_absolute() and newer.is_dir():
        return newer
    home = environ.get("HOME") or ""
    return Path(home if home and os.path.exists(home) else os.path.expanduser("~"), ".config", "incus")


def _read_remotes(file: Path) -> dict[str, dict[str, Any]]:
    remotes = _read(file).get("remotes") or {}
    if not isinstance(remotes, dict) or not all(isinstance(entry, dict) for entry in remotes.values()):
        raise IncusInputError(f"{file}: remotes must be a mapping of names to remotes")
    return {str(name): entry for name, entry in remotes.items()}


def _read(file: Path) -> dict[str, Any]:
    with _explain_errors(file):
        try:
            text = file.read_text(encoding="utf-8")
        except (FileNotFoundError, NotADirectoryError):
            return {}
    import yaml

    try:
        document = yaml.safe_load(text)
    except yaml.YAMLError as error:
        raise IncusInputError(f"{file} is not YAML: {error}") from None
    if not isinstance(document, dict | None):
        raise IncusInputError(f"{file} is not a configuration of the incus command: it is not a mapping")
    return document or {}


def _dump(document: dict[str, Any]) -> str:
    import yaml

    text: str = yaml.safe_dump(document, sort_keys=False, allow_unicode=True, default_flow_style=False)
    return text


def _exist(*files: Path) -> bool:
    return all(os.path.exists(file) for file in files)


@contextlib.contextmanager
def _explain_errors(file: Path) -> Generator[None]:
    try:
        yield
    except (OSError, ValueError) as error:
        raise IncusInputError(f"{file} cannot be used: {getattr(error, 'strerror', None) or error}") from None
