# SPDX-License-Identifier: GPL-2.0
"""Boot a Debian system in QEMU and use its serial console"""

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


def machine_line(disk, snapshot=True):
    """Return QEMU's arguments, with the serial port on standard input and output. With
    snapshot, writes to the disk are lost at the end."""
    kvm = machine.kvm_usable()
    return ["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot",
            "-machine", "q35", "-smp", "2", "-m", MEMORY, "-serial", "stdio",
            # QEMU 7.2 with a thread for each CPU does not work with static keys, which
            # Debian's configuration has: see scripts/config/x86_64.config.
            "-accel", "kvm" if kvm else "tcg,thread=single", "-cpu", "host" if kvm else "max",
            "-drive", f"file={qemu.quoted(disk)},format=raw,if=virtio,"
            f"snapshot={'on' if snapshot else 'off'}"]


def parameters():
    """Return the parameters of a kernel whose console is the serial port."""
    clock = [] if machine.kvm_usable() else qemu.clock_parameters(hz=HZ)
    return ["console=ttyS0", "panic=-1", "systemd.show_status=1", *clock]


def only(pattern):
    found = glob.glob(pattern)
    if len(found) != 1:
        raise Error(f"{len(found)} files {pattern}, not one")
    return found[0]


def kernel_line(disk, alloc=None):
    """Return QEMU's arguments that start the image's kernel with LLFree, without GRUB."""
    words = ["root=/dev/vda1", "rw", *parameters()]
    # The kernel's default is buddy.
    words += ["page_alloc=llfree"] if alloc == "llfree" else []
    boot = f"{disk}.boot/boot"
    return ["-kernel", only(f"{boot}/vmlinuz-*llfree*"),
            "-initrd", only(f"{boot}/initrd.img-*llfree*"), "-append", " ".join(words)]


class Debian:
    """A guest with a serial console"""

    def __init__(self, argv, log):
        self.log = open(log, "w", encoding="utf-8")
        self.child = pexpect.spawn(machine.MACHINES["x86_64"].qemu, argv, encoding="utf-8",
                                   codec_errors="replace", timeout=SECONDS,
                                   dimensions=(24, 200))
        self.child.logfile_read = self.log

    def expect(self, what, text, seconds=SECONDS):
        """Wait for an output. On timeout or at the end, raise Failure with the text."""
        try:
            self.child.expect(what, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF) as e:
            last = "\n".join(self.child.before.splitlines()[-20:])
            raise ktap.Failure(f"{text}: {type(e).__name__}; the last output:\n{last}") from None

    def prompt(self):
        self.expect(PROMPT, "no prompt")

    def run(self, command, seconds=SECONDS):
        """Run a command and return (exit status, output)."""
        # The echo of the line must not look like the answer.
        self.child.sendline(f"{command}; echo status''=$?")
        self.expect(r"status=\d+\r", f"'{command}' does not end", seconds)
        status = int(re.search(r"\d+", self.child.after)[0])
        output = self.child.before.replace("\r", "").partition("\n")[2]
        self.prompt()
        return status, output

    def login(self):
        """Wait until systemd has started a login on the console, and log in as root."""
        self.expect("llfree login: ", "no login")
        self.child.sendline("root")
        self.prompt()
        # Neither the shell nor the kernel may write into the output of commands.
        self.run("bind 'set enable-bracketed-paste off'; dmesg -n 1")

    def allocator(self, alloc):
        """Raise Failure unless the kernel uses a page allocator."""
        _, used = self.run("cat /sys/kernel/mm/page_alloc/allocator")
        ktap.check(used.strip() == alloc, f"{used.strip()} is in use, not {alloc}")

    def ends(self, command):
        """Run a command that powers off or reboots the guest, and wait until QEMU ends."""
        self.child.sendline(command)
        self.expect(pexpect.EOF, f"the guest does not end after '{command}'")

    def end(self):
        self.child.close(force=True)
        self.log.close()
