"""A connection to an instance, in the shape of Ansible's connection plugins, with blocking calls.

    python examples/connection.py web 'cat; exit 3' <notes.txt

A plugin makes one `Connection` for a host, in the process that uses it: a client does not survive a fork. Errors of the
SDK are `IncusError`; a plugin would raise its own in their place.
"""

from __future__ import annotations

import sys

from incus_sdk.sync import Client, Instance


class Connection:
    """One instance: commands, and files in both directions.

    Args:
        name: The instance.
        project: Its project; None for that of the client's configuration.
        user: Who runs the commands, by name or number.
    """

    def __init__(self, name: str, project: str | None = None, user: str = "root") -> None:
        self._name = name
        self._project = project
        self._user = user
        self._client: Client | None = None
        self._instance: Instance | None = None

    def connect(self) -> Instance:
        """Connect, unless that is done; raises if there is no such instance, or no server."""
        if self._instance is None:
            self._client = self._client or Client(project=self._project)
            self._instance = self._client.instances.get(self._name)
        return self._instance

    def exec_command(self, cmd: str, in_data: bytes | None = None) -> tuple[int, bytes, bytes]:
        """Run a line of shell; returns the exit code, stdout and stderr."""
        result = self.connect().run(["/bin/sh", "-c", cmd], input=in_data, user=self._user)
        return result.returncode, result.stdout, result.stderr

    def put_file(self, in_path: str, out_path: str) -> None:
        """Copy a local file into the instance; it appears there complete, or not at all."""
        self.connect().path(out_path).push(in_path)

    def fetch_file(self, in_path: str, out_path: str) -> None:
        """Copy a file of the instance to this machine."""
        self.connect().path(in_path).pull(out_path)

    def close(self) -> None:
        """Disconnect; the next call connects again."""
        if self._client is not None:
            self._client.disconnect()
        self._client = self._instance = None


if __name__ == "__main__":
    connection = Connection(sys.argv[1])
    code, output, errors = connection.exec_command(sys.argv[2], sys.stdin.buffer.read())
    connection.close()
    sys.stdout.buffer.write(output)
    sys.stderr.buffer.write(errors)
    sys.exit(code)
