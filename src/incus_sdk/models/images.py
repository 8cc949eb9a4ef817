"""Images: records and request bodies, aliases and the metadata inside an image included."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal, TypedDict

from .base import Record, RecordList, RecordMap
from .instances import InstanceType


class ImageAlias(Record):
    """An alias as an image lists it."""

    description: str
    name: str
    """Can contain slashes: debian/13."""


class ImageAliasDict(TypedDict, total=False):
    """An alias to give to an image."""

    description: str
    name: str


class ImageAliasesEntry(ImageAlias):
    """An alias with the image it leads to."""

    target: str
    """Fingerprint of the image."""
    type: InstanceType
    """Kind of image."""


class ImageMetadataTemplate(Record):
    """When and how the server writes one file inside an instance from a template."""

    create_only: bool
    """Leave a file alone that is already there."""
    gid: str
    """Numeric group of a file it creates, as text; empty: 0."""
    mode: str
    """Octal permissions of a file it creates, as text; empty: 644."""
    properties: dict[str, str]
    """Values the template can use."""
    template: str
    """File name of the pongo2 template among the image's templates."""
    uid: str
    """Numeric owner of a file it creates, as text; empty: 0."""
    when: list[str]
    """Any of create, copy, rename and start."""


class ImageMetadataTemplateDict(TypedDict, total=False):
    """`ImageMetadataTemplate` as a request body."""

    create_only: bool
    gid: str
    mode: str
    properties: Mapping[str, str]
    template: str
    uid: str
    when: Sequence[str]


class ImageMetadata(Record):
    """The metadata.yaml of an image, or of the image an instance came from."""

    architecture: str
    creation_date: int
    """Seconds since 1970."""
    expiry_date: int
    """Seconds since 1970; 0: never."""
    properties: dict[str, str]
    """Such as os, release and variant."""
    templates: RecordMap[ImageMetadataTemplate]
    """By the absolute path of the file they write."""


class ImageMetadataDict(TypedDict, total=False):
    """`ImageMetadata` as a request body: the new metadata.yaml of an instance."""

    architecture: str
    creation_date: int
    expiry_date: int
    properties: Mapping[str, str]
    templates: Mapping[str, ImageMetadataTemplate | ImageMetadataTemplateDict]


class ImageSource(Record):
    """The remote image that a local one was downloaded from."""

    alias: str
    certificate: str
    """That server's certificate, PEM; empty: the system's authorities decide."""
    image_type: InstanceType
    protocol: Literal["incus", "simplestreams", "oci"] | str
    server: str
    """Address of that server."""


class Image(Record):
    """An image in the server's store."""

    aliases: RecordList[ImageAlias]
    architecture: str
    auto_update: bool
    """The server looks for a newer build at its source, and takes it."""
    cached: bool
    """Downloaded to create an instance, and deleted once unused for the days in ``images.remote_cache_expiry``."""
    created_at: datetime | None
    """When it was built, as its metadata says."""
    expires_at: datetime | None
    """When its maker considers it out of date; None: never."""
    filename: str
    """The name of the file that was uploaded or downloaded."""
    fingerprint: str
    """SHA-256 of its content, 64 hex digits."""
    last_used_at: datetime | None
    """When an instance was last made from it; None: never."""
    locations: list[str]
    """Cluster members with a copy (``image_locations``)."""
    profiles: list[str]
    """For instances made from it without naming profiles."""
    project: str
    properties: dict[str, str]
    """Such as os, release, variant and description."""
    public: bool
    """Anybody who reaches the server can download it."""
    size: int
    """Bytes."""
    type: InstanceType
    update_source: ImageSource
    """Empty for an image that did not come from another server."""
    uploaded_at: datetime | None
    """When it came into this store."""


class ImageAliasesEntryPut(TypedDict, total=False):
    """Changes an alias."""

    description: str
    target: str
    """Fingerprint of the image it is to lead to."""


class ImagePut(TypedDict, total=False):
    """Replaces what can be changed of an image."""

    auto_update: bool
    """Have the server look for newer builds at the image's source."""
    expires_at: str | datetime
    """None: never."""
    profiles: Sequence[str]
    """For instances made from it without naming profiles."""
    properties: Mapping[str, str]
    public: bool
    """Let anybody who reaches the server download it."""


class ImagesPostSource(TypedDict, total=False):
    """Where a new image comes from."""

    alias: str
    """Of type image: the alias at the remote server."""
    certificate: str
    """The remote server's certificate, PEM; absent: the system's authorities decide."""
    fingerprint: str
    """Of type image: instead of an alias."""
    image_type: InstanceType
    """Where an alias stands for both."""
    mode: Literal["pull", "push"] | str
    """pull (the default), or push: the operation then gives a secret with which another server can upload."""
    name: str
    """Of type instance or snapshot: c1 or c1/snap0."""
    project: str
    """The remote image's project."""
    protocol: Literal["incus", "simplestreams", "oci"] | str
    """The remote server's."""
    secret: str
    """Opens a private image of another server."""
    server: str
    """Address of the remote server."""
    type: Literal["image", "url", "instance", "snapshot"] | str
    """image (another server's), url, instance or snapshot (published from here)."""
    url: str
    """Of type url: the address of the image file."""


class ImagesPost(ImagePut, total=False):
    """Creates an image from another server, a URL, an instance or a snapshot."""

    aliases: Sequence[ImageAlias | ImageAliasDict]
    compression_algorithm: str
    """When publishing: a program such as gzip, xz or zstd, its options after a space, or none."""
    filename: str
    format: Literal["unified", "split"] | str
    """When publishing: unified (one file, the default) or split (metadata and disk; ``instance_publish_split``)."""
    source: ImagesPostSource
