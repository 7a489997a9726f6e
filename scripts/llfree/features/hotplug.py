# SPDX-License-Identifier: GPL-2.0
"""Add and remove a guest's memory: DIMMs, and a virtio-mem device.

The guest prints requests in lines that begin with "# now": plug ID MIB NODE,
unplug ID, gone ID, resize MIB. Class Memory carries them out by QEMU's machine protocol."""

import functools
import subprocess
import tempfile

from llfree.features.common import MIB, Qmp, vm
from llfree.paths import GUEST

OPTIONS = {
    "hotplug": ("--mem", "1G", "--maxmem", "16G", "--slots", "8", "--numa", "2"),
    "virtiomem": ("--mem", "1G", "--maxmem", "8G",
                  "--qemu-arg=-object", "--qemu-arg=memory-backend-ram,id=vmem,size=4G",
                  "--qemu-arg=-device",
                  "--qemu-arg=virtio-mem-pci,id=vmem0,memdev=vmem,requested-size=0"),
}


class Memory:
    """Memory that the QEMU behind a socket adds to a guest or removes"""

    def __init__(self, socket):
        self.path = socket

    @functools.cached_property
    def qmp(self):
        """A connection with QEMU, which serves the socket as soon as the guest runs"""
        return Qmp(self.path)

    def close(self):
        if "qmp" in vars(self):
            self.qmp.socket.close()

    def obey(self, text):
        """Carry out a line of the guest's output if the line is a request."""
        words = text.split()
        if words[:2] == ["#", "now"]:
            getattr(self, words[2])(*words[3:])

    def plug(self, name, mib, node):
        self.qmp.command("object-add", **{"qom-type": "memory-backend-ram", "id": f"ram-{name}",
                                          "size": int(mib) * MIB})
        self.qmp.command("device_add", driver="pc-dimm", id=name, memdev=f"ram-{name}",
                         node=int(node))

    def unplug(self, name):
        self.qmp.command("device_del", id=name)

    def gone(self, name):
        """Free the memory of a DIMM that the guest has released, for another DIMM."""
        self.qmp.command("object-del", id=f"ram-{name}")

    def resize(self, mib):
        self.qmp.command("qom-set", path="/machine/peripheral/vmem0",
                         property="requested-size", value=int(mib) * MIB)


def run(topic, args, *options):
    with tempfile.TemporaryDirectory() as directory:
        socket = f"{directory}/qmp"
        memory = Memory(socket)
        with subprocess.Popen(
                vm(args, [*OPTIONS[topic], *options, "--qmp", socket],
                   [f"{GUEST}/features", topic, "--seconds", str(args.seconds),
                    "--rounds", str(args.rounds)], timeout=600 + 10 * args.rounds),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                errors="replace") as proc:
            for text in proc.stdout:
                print(text.rstrip(), flush=True)
                memory.obey(text)
        return proc.returncode
