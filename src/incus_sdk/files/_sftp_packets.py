"""What packets of SFTP, version 3, are made of: for the client, and for the server of `incus_sdk.testing.Fake`."""

from __future__ import annotations

from enum import IntEnum


class Kind(IntEnum):
    """What a packet is."""

    INIT = 1
    VERSION = 2
    OPEN = 3
    CLOSE = 4
    READ = 5
    WRITE = 6
    LSTAT = 7
    FSTAT = 8
    SETSTAT = 9
    FSETSTAT = 10
    OPENDIR = 11
    READDIR = 12
    REMOVE = 13
    MKDIR = 14
    RMDIR = 15
    REALPATH = 16
    STAT = 17
    RENAME = 18
    READLINK = 19
    SYMLINK = 20
    STATUS = 101
    HANDLE = 102
    DATA = 103
    NAME = 104
    ATTRS = 105
    EXTENDED = 200
    EXTENDED_REPLY = 201


POSIX_RENAME = b"posix-rename@openssh.com"
"""The name of the extended request that replaces the target of a rename."""


def string(data: bytes) -> bytes:
    """Bytes as a field of a packet."""
    return len(data).to_bytes(4, "big") + data
