"""The busybox image with this Python, and a package with all that it needs: no image server is asked for one."""

from __future__ import annotations

import re
import subprocess
import sys
import sysconfig
from collections.abc import Iterator
from importlib import metadata
from pathlib import Path

from incus_sdk.testing._image import busybox_image

_LEFT_OUT = re.compile(r"test|idlelib|ensurepip|tkinter|lib2to3|pydoc_data|turtledemo|(site|dist)-packages|config-.*")
_LEFT_OUT_BELOW = ("*.opt-?.pyc", "_tkinter*.so", "_test*.so", "*/tests")


def make_python_image(path: Path, package: str, without: set[str]) -> None:
    """Write a unified image with an installed package and those that it requires, but for some, where they are here."""
    library, python = Path(sysconfig.get_path("stdlib")), Path(sys.executable).resolve()
    packages = dict(_installed(package, without))
    programs = [python, *(library / "lib-dynload").glob("[_z]*.so")]
    programs += [file for file in packages if ".so" in file.suffixes]
    linked = subprocess.run(["ldd", *programs], check=True, capture_output=True, text=True).stdout
    own = (file for file in library.iterdir() if not _LEFT_OUT.fullmatch(file.name))
    names = {*map(str, [python, *own, *packages])}
    names |= {name for name in re.findall(r"\s(/\S+) \(0x", linked) if "/.." not in name}  # those are a package's own

    start = path.with_name("python3")
    start.write_text(f'#!/bin/sh\nPYTHONPATH=/opt exec {python} "$@"\n')
    start.chmod(0o755)
    path.write_bytes(busybox_image())
    rules = [f"--exclude={name}" for name in _LEFT_OUT_BELOW]
    rules += [f"--transform=s,^{place}/,/opt/," for place in {*packages.values()}]
    rules += [f"--transform=s,^{start},/bin/python3,", "--transform=s,^/,rootfs/,"]
    command = ["tar", "-rhPf", str(path), "--format=gnu", "--owner=0", "--group=0", *rules, "-T", "-"]
    subprocess.run(command, check=True, text=True, input="\n".join([str(start), *sorted(names)]))


def _installed(package: str, without: set[str]) -> Iterator[tuple[Path, Path]]:
    """The files of packages, with the directory that they are imported from."""
    seen, waiting = set(without), [package]
    while waiting:
        name = waiting.pop()
        if name in seen:
            continue
        seen.add(name)
        try:
            found = metadata.distribution(name)
        except metadata.PackageNotFoundError:  # for another system
            continue
        waiting += [re.split(r"[^\w.-]", each)[0] for each in found.requires or [] if "extra ==" not in each]
        for file in found.files or []:
            if ".." not in file.parts and (place := Path(str(file.locate()))).is_file():
                yield place, Path(str(found.locate_file("")))
