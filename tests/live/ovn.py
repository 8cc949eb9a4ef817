"""OVN in the namespaces of a private daemon, for tests: all of it ends with the daemon."""

from __future__ import annotations

import asyncio
import subprocess

from incus_sdk.testing import Daemon

_START = """
set -e
mkdir -p /run/openvswitch /run/ovn /var/log/ovn
export OVN_RUNDIR=/run/ovn
# Where Incus reads what rules of ACLs have logged.
mount -t tmpfs tmpfs /var/log/ovn
ln -s /run/ovn/ovn-controller.log /var/log/ovn/

serve() {  # a database: its file and socket, its schema, its name
    ovsdb-tool create $1.db $2
    ovsdb-server $1.db --remote=punix:$1.sock --unixctl=$1.ctl --pidfile=$1.pid --detach --no-chdir --log-file=$1.log
}
serve /run/openvswitch/db /usr/share/openvswitch/vswitch.ovsschema
serve /run/ovn/ovnnb_db /usr/share/ovn/ovn-nb.ovsschema
serve /run/ovn/ovnsb_db /usr/share/ovn/ovn-sb.ovsschema

run() {
    local program=$1; shift
    "$program" "$@" --pidfile=/run/ovn/$program.pid --detach --no-chdir --log-file=/run/ovn/$program.log
}
ovs-vsctl --no-wait init
ovs-vsctl --no-wait set open_vswitch . external_ids:system-id=chassis1 \
    external_ids:ovn-remote=unix:/run/ovn/ovnsb_db.sock external_ids:ovn-bridge-datapath-type=netdev \
    external_ids:ovn-encap-type=geneve external_ids:ovn-encap-ip=127.0.0.1
ovn-nbctl --no-wait init
ovn-sbctl init
run ovs-vswitchd unix:/run/openvswitch/db.sock
run ovn-northd --ovnnb-db=unix:/run/ovn/ovnnb_db.sock --ovnsb-db=unix:/run/ovn/ovnsb_db.sock
run ovn-controller unix:/run/openvswitch/db.sock

# Incus makes its bridge for the kernel's own switch, which this kernel may not have, and waits for it for 5 s only.
{
    ovsdb-client monitor unix:/run/openvswitch/db.sock Open_vSwitch Bridge name datapath_type | while read -r _; do
        for bridge in $(ovs-vsctl --no-wait --bare --columns=name find bridge 'datapath_type!=netdev'); do
            ovs-vsctl --no-wait set bridge "$bridge" datapath_type=netdev
        done
    done
} >/dev/null 2>&1 &
"""


async def start(daemon: Daemon) -> None:
    """Start Open vSwitch, in user space, and OVN for a started daemon."""
    assert daemon._namespaces is not None
    namespaces = f"/proc/{daemon._namespaces.pid}/ns"
    command = [
        *("nsenter", f"--target={daemon._namespaces.pid}", "--mount", "--net", f"--pid={namespaces}/pid_for_children"),
        *("--root", "--wd=/", "--", "/bin/sh", "-c", _START),
    ]
    result = await asyncio.to_thread(subprocess.run, command, capture_output=True, text=True, stdin=subprocess.DEVNULL)
    assert result.returncode == 0, result.stderr
