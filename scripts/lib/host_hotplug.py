# SPDX-License-Identifier: GPL-2.0
"""Memory that is plugged and unplugged: DIMMs, by QEMU's machine protocol.

The guest says what it wants by lines "# now plug ID MIB NODE" and "# now unplug ID"."""

import subprocess
import tempfile

from host_common import GUEST, MIB, Qmp, vm

OPTIONS = ("--mem", "1G", "--maxmem", "16G", "--slots", "8", "--numa", "2")


class Dimms:
    """What a guest has been given"""

    def __init__(self, socket):
        self.qmp = Qmp(socket)

    def plug(self, name, mib, node):
        self.qmp.command("object-add", **{"qom-type": "memory-backend-ram", "id": f"ram-{name}",
                                          "size": int(mib) * MIB})
        self.qmp.command("device_add", driver="pc-dimm", id=name, memdev=f"ram-{name}",
                         node=int(node))

    def unplug(self, name):
        self.qmp.command("device_del", id=name)

    def gone(self, name):
        """The guest has let it go; the memory can be used for another one."""
        self.qmp.command("object-del", id=f"ram-{name}")


def run(args):
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/qmp"
        dimms = None
        with subprocess.Popen(
                vm(args, [*OPTIONS, "--qmp", socket],
                   [f"{GUEST}/features", "hotplug", "--seconds", str(args.seconds)]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                errors="replace") as proc:
            for text in proc.stdout:
                print(text.rstrip(), flush=True)
                words = text.split()
                if words[:2] == ["#", "now"]:
                    dimms = dimms or Dimms(socket)
                    getattr(dimms, words[2])(*words[3:])
        return proc.returncode
