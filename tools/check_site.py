"""Checks the built site, ``tools/check_site.py site``: its links, its reference, its search.

The builder checks links, too, but only those that are written as links of Markdown. Here are those of the finished
pages, with the anchors they lead to, and nothing may come from elsewhere. The reference must have each public class and
function. The search is asked what people type, through the program that runs in browsers.
"""

from __future__ import annotations

import json
import re
import sys
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

ROOT = Path(__file__).parents[1]

FINDS = {
    "limits.cpu": "cookbook/instances.html#limit-memory-and-cpu",
    "limits.memory": "cookbook/instances.html#limit-memory-and-cpu",
    "memory limit": "cookbook/instances.html#limit-memory-and-cpu",
    "cloud-init": "cookbook/instances.html#cloud-init-user-data",
    "user data": "cookbook/instances.html#cloud-init-user-data",
    "virtual machine": "cookbook/instances.html#vm-a-virtual-machine",
    "vm": "cookbook/instances.html#vm-a-virtual-machine",
    "security.nesting": "cookbook/instances.html#nested-containers",
    "boot.autostart": "cookbook/instances.html#start-with-the-server",
    "snapshots.schedule": "cookbook/backups.html#snapshots-on-a-schedule",
    "docker": "cookbook/instances.html#nested-containers",
    "nested": "cookbook/instances.html#nested-containers",
    "clone": "cookbook/instances.html#clone-from-a-snapshot",
    "bind mount": "cookbook/devices.html#bind-mount-a-folder",
    "bind-mount": "cookbook/devices.html#bind-mount-a-folder",
    "mount a folder": "cookbook/devices.html#bind-mount-a-folder",
    "proxy": "cookbook/devices.html#proxy-publish-a-port",
    "publish a port": "cookbook/devices.html#proxy-publish-a-port",
    "gpu": "cookbook/devices.html#gpu-passthrough",
    "usb": "cookbook/devices.html#usb-devices",
    "ip address": "cookbook/networks.html#the-ip-address",
    "dns": "guide/networks.html#dns-zones",
    "acl": "guide/networks.html#rules",
    "static ip": "cookbook/networks.html#a-static-address",
    "firewall": "cookbook/networks.html#firewall-rules",
    "timeout": "concepts/timeouts.html",
    "cancel": "concepts/timeouts.html#cancellation",
    "no permission": "troubleshooting.html#no-permission",
    "retry": "cookbook/commands.html#retry-what-failed",
    "untrusted": "cookbook/commands.html#run-untrusted-code",
    "backup": "cookbook/backups.html",
    "certificate": "cookbook/access.html",
    "install": "getting-started.html#install-it",
    "async": "guide/blocking.html",
    "sync": "guide/blocking.html",
    "blocking": "guide/blocking.html",
    "threads": "concepts/loops-threads-processes.html#threads",
    "ctrl-c": "guide/blocking.html#ctrl-c",
    "fastapi": "cookbook/frameworks.html#fastapi",
    "jupyter": "cookbook/frameworks.html#jupyter",
    "pytest": "cookbook/frameworks.html#pytest",
    "prometheus": "cookbook/watching.html#prometheus-metrics",
    "opentelemetry": "cookbook/watching.html#opentelemetry",
    "idempotent": "cookbook/access.html#profiles-as-code",
    "thread-safe": "guide/blocking.html#threads",
    "port mapping": "cookbook/devices.html#proxy-publish-a-port",
    "raw api call": "guide/connecting.html#any-other-request",
    "restricted project": "cookbook/access.html#give-somebody-access-to-one-project",
    "rotate snapshots": "cookbook/instances.html#snapshots-keep-the-last-three",
    "container does not start": "cookbook/watching.html#why-a-container-does-not-start",
    "interactive shell": "guide/commands.html#a-shell-in-your-terminal",
    "how to get the ip": "cookbook/index.html#how-to",
    "how do I mount a folder": "cookbook/index.html#how-to",
    "how do I copy a file": "cookbook/index.html#how-to",
}
"""What people type, and the beginning of the place that the search must show first."""


@dataclass
class Page(HTMLParser):
    """What a page links to, loads, and can be linked to at."""

    links: list[str] = field(default_factory=list)
    loads: list[str] = field(default_factory=list)
    anchors: set[str] = field(default_factory=set)

    def __post_init__(self) -> None:
        super().__init__()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value for name, value in attrs if value is not None}
        self.anchors |= {given[name] for name in ("id", "name") if name in given}
        if tag == "a" and "href" in given:
            self.links.append(given["href"])
        elif tag in ("script", "link", "img", "iframe"):
            self.loads += [given[name] for name in ("src", "href") if name in given]


def read(site: Path) -> dict[Path, Page]:
    pages = {path: Page() for path in site.rglob("*.html")}
    for path, page in pages.items():
        page.feed(path.read_text())
    return pages


def dead_links(site: Path, pages: dict[Path, Page]) -> list[str]:
    """What leads nowhere within the site, and what is loaded from elsewhere."""
    problems = []
    for path, page in pages.items():
        if path.name == "404.html":  # it is shown anywhere
            continue
        where = path.relative_to(site)
        problems += [f"{where} loads {link}" for link in page.loads if re.match(r"(https?:)?//", link)]
        for link in {*page.links, *page.loads}:
            url = urlsplit(link)
            if url.scheme or url.netloc:
                continue
            target = (path.parent / unquote(url.path)).resolve() if url.path else path
            target = target / "index.html" if target.is_dir() else target
            if not target.exists():
                problems.append(f"{where}: there is no {link}")
            elif url.fragment and target in pages and unquote(url.fragment) not in pages[target].anchors:
                problems.append(f"{where}: there is no anchor {link}")
    return sorted(problems)


def not_in_the_reference(pages: dict[Path, Page]) -> list[str]:
    """The public classes, functions and types without an anchor; the blocking form has them from the async one."""
    surface = (ROOT / "tests/unit/public-surface.txt").read_text()
    top = r"^(incus_sdk(?:\.[a-z_]+)*\.(?:[A-Z]\w+|[a-z_]+(?=\()|sync\.timeout))(?:\(.*| = .*)?$"
    names = {
        name for name in re.findall(top, surface, re.MULTILINE) if ".sync." not in name or name.endswith(".timeout")
    }
    shown = {anchor.rpartition(".")[2] for page in pages.values() for anchor in page.anchors}
    return sorted(f"the reference does not have {name}" for name in names if name.rpartition(".")[2] not in shown)


def search(site: Path, queries: list[str]) -> dict[str, list[str]]:
    """The places that the site's search shows for each query, best first."""
    from pyright import node  # it has one where the machine has none

    [worker] = (site / "assets/javascripts/workers").glob("search.*.js")
    script = str(Path(__file__).with_name("search.js"))
    asked = node.run("node", script, str(site), str(worker), input="\n".join(queries), capture_output=True, text=True)
    if asked.returncode:
        raise RuntimeError(asked.stderr)
    answers = map(json.loads, str(asked.stdout).splitlines())
    return dict(zip(queries, answers, strict=True))


def wrong_answers(site: Path) -> list[str]:
    """The queries whose first answer is another than `FINDS` has."""
    answers = search(site, list(FINDS))
    return [
        f"the search for {query!r} shows {answers[query][:3]} first, not {wanted}"
        for query, wanted in FINDS.items()
        if not (answers[query] and answers[query][0].startswith(wanted))
    ]


def main() -> None:
    site = Path(sys.argv[1]).resolve()
    pages = read(site)
    problems = dead_links(site, pages) + not_in_the_reference(pages) + wrong_answers(site)
    for problem in problems:
        print(problem, file=sys.stderr)
    sys.exit(bool(problems))


if __name__ == "__main__":
    main()
