"""The ``incus`` command's own configuration directory: its remotes, and the certificates that go with them.

Both may use one directory at the same time: what is not understood here is kept as it is, and every file is replaced
whole.
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
    """A server as the command's configuration knows it; `Client` takes one in the place of an endpoint."""

    name: str
    addresses: tuple[str, ...]
    """In the order in which they are tried."""
    project: str | None = None
    protocol: str = "incus"
    """incus, or simplestreams and oci for servers of images."""
    auth_type: str = "tls"
    """tls or oidc."""
    public: bool = False
    """Gives out images to anybody, and nothing else."""
    cert: tuple[Path, Path] | None = None
    """The client's certificate and key, where they exist."""
    server_cert: Path | None = None
    """The server's own certificate, where it was pinned."""
    ca: Path | None = None
    """The authority whose servers are trusted (PKI), where there is one."""
    tokens: Path | None = None
    """The cache of the tokens of a login by OpenID Connect."""
    origin: str = field(default="", compare=False)
    """Where the address is from, in words."""


class ClientConfig:
    """The directory of INCUS_CONF, or ``~/.config/incus``. Nothing is read before it is asked for.

    ``directory``: another one. ``environ``: the environment that counts; by default that of the process.
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
        """The name of the remote that is meant where none is named: INCUS_REMOTE, or the file's, or ``local``."""
        return self._environ.get("INCUS_REMOTE") or str(_read(self.file).get("default-remote") or "local")

    def remotes(self) -> dict[str, Remote]:
        """All remotes by name: the user's, those of the whole machine, and ``local``.

        Raises `IncusInputError` for a file that cannot be read or is no configuration.
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
        """The remote of that name, or the default one, ready to be connected to: ``unix://`` alone is then the local
        daemon's socket, and INCUS_PROJECT its project, where it is set.

        Raises `IncusInputError` where there is none, or it is a server of images.
        """
        name = name or self.default_remote
        remotes = self.remotes()
        if name not in remotes:
            raise IncusInputError(f"{self.file} has no remote {name!r}, only {', '.join(sorted(remotes))}")
        remote = remotes[name]
        if not remote.addresses:
            raise IncusInputError(f"{self.file}: the remote {name} has no address")
        if remote.protocol != "incus" or remote.public:
            raise IncusInputError(f"the remote {name} is a server of images: it has no instances to work with")
        addresses, project, origin = list(remote.addresses), remote.project, remote.origin
        for number, address in enumerate(addresses):
            if address == "unix://":
                found = local_socket(self._environ)
                addresses[number], project, origin = f"unix://{found.path}", project or found.project, found.origin
        project = self._environ.get("INCUS_PROJECT") or project
        return replace(remote, addresses=tuple(addresses), project=project, origin=origin)

    @property
    def client_cert(self) -> tuple[Path, Path]:
        """Where the client's own certificate and key are, or will be."""
        return self.directory / "client.crt", self.directory / "client.key"

    def new_remote(self, name: str) -> Remote:
        """A remote without an address, and not written yet; its `cert` is made now, where there is none.

        Raises `IncusInputError` where only one of its two files is there.
        """
        certificate, key = self.client_cert
        with self.lock():
            if _exist(certificate) != _exist(key):
                raise IncusInputError(f"{certificate} and {key} must both be there, or none of them, to be made")
            if not _exist(key):
                import socket

                from .tls import make_pair

                texts = make_pair(f"{_user_name()}@{socket.gethostname()}")
                write(key, texts[1], 0o600)
                write(certificate, texts[0])
        return self._parse_remote(name, {}, self.directory)

    def add(self, remote: Remote, *, by_name: str | None = None, server_cert: bytes | None = None) -> None:
        """Write a remote, and beside it the server's certificate (DER), which is pinned from then on.

        Where the remote has no name yet, it gets ``by_name``, with a number behind it if that is taken. Raises
        `IncusInputError` where there is a remote of its name.
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
                pinned.unlink(missing_ok=True)  # of a remote that was removed, perhaps
            if server_cert is not None:
                write(pinned, ssl.DER_cert_to_PEM_cert(server_cert))
            write(self.file, _dump({**document, "remotes": remotes}))

    def check_new_name(self, name: str) -> None:
        """Raise `IncusInputError` for what can be no remote's name, or is one already."""
        if not isinstance(name, str) or not name or name[0] == "." or any(bad in name for bad in ":/\0\n"):
            raise IncusInputError(
                f"{name!r} is no name for a remote: it must not be empty, hold : or /, or begin with ."
            )
        if (known := self.remotes().get(name)) is not None:
            raise IncusInputError(f"there is a remote {name} already, at {', '.join(known.addresses)}")

    @contextlib.contextmanager
    def lock(self) -> Generator[None]:
        """Keep other processes of the SDK from changing the directory meanwhile; makes it, where there is none."""
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
        # ``unix:/path`` is the same as ``unix:///path`` to the command.
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
    """Replace a file of the directory whole, its parents made; one that exists keeps its mode."""
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
        raise IncusInputError(f"{file}: its remotes are no mapping of names to remotes")
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
        raise IncusInputError(f"{file} is no YAML: {error}") from None
    if not isinstance(document, dict | None):
        raise IncusInputError(f"{file} is no configuration of the incus command: it holds no mapping")
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
