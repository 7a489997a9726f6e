# SPDX-License-Identifier: GPL-2.0
"""A guest with Debian, and what its serial console says"""

import glob
import re

import pexpect

from llfree import ktap
from llfree.program import Error
from llfree.vm import machine, qemu

MEMORY = "1G"
HZ = 250
SECONDS = 900
PROMPT = r"root@llfree:~# "


def command_line(disk, alloc):
    """QEMU with the serial port on its standard input and output"""
    kvm = machine.kvm_usable()
    words = ["console=ttyS0", "root=/dev/vda", "rw", "panic=-1", "systemd.show_status=1"]
    words += [] if kvm else qemu.clock_parameters(hz=HZ)
    # Without it, the kernel takes its default: buddy.
    words += ["page_alloc=llfree"] if alloc == "llfree" else []
    boot = f"{disk}.boot/boot"
    argv = ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-smp", "2", "-m", MEMORY, "-serial", "stdio",
            # QEMU 7.2 with a thread for each CPU does not get on with static keys, which
            # are in Debian's configuration: see scripts/config/x86_64.config.
            "-accel", "kvm" if kvm else "tcg,thread=single", "-cpu", "host" if kvm else "max",
            "-kernel", only(f"{boot}/vmlinuz-*"), "-initrd", only(f"{boot}/initrd.img-*"),
            "-drive", f"file={qemu.quoted(disk)},format=raw,if=virtio,snapshot=on",
            "-append", " ".join(words)]
    return machine.MACHINES["x86_64"].qemu, argv


def only(pattern):
    found = glob.glob(pattern)
    if len(found) != 1:
        raise Error(f"{len(found)} files {pattern}, not one")
    return found[0]


class Debian:
    """A guest with a serial console"""

    def __init__(self, disk, alloc, log):
        program_, argv = command_line(disk, alloc)
        self.log = open(log, "w", encoding="utf-8")
        self.child = pexpect.spawn(program_, argv, encoding="utf-8", codec_errors="replace",
                                   timeout=SECONDS, dimensions=(24, 200))
        self.child.logfile_read = self.log

    def expect(self, what, text, seconds=SECONDS):
        """Wait for an output; the text says what did not come."""
        try:
            self.child.expect(what, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF) as e:
            last = "\n".join(self.child.before.splitlines()[-20:])
            raise ktap.Failure(f"{text}: {type(e).__name__}; the last output:\n{last}") from None

    def prompt(self):
        self.expect(PROMPT, "no prompt")

    def run(self, command, seconds=SECONDS):
        """Output and exit status of a command"""
        # The echo of the line must not look like the answer.
        self.child.sendline(f"{command}; echo status''=$?")
        self.expect(r"status=\d+\r", f"'{command}' does not end", seconds)
        status = int(re.search(r"\d+", self.child.after)[0])
        output = self.child.before.replace("\r", "").partition("\n")[2]
        self.prompt()
        return status, output

    def ends(self):
        """Wait until the guest is off"""
        self.expect(pexpect.EOF, "the guest does not power off")

    def end(self):
        self.child.close(force=True)
        self.log.close()
