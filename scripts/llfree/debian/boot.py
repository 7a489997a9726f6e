# SPDX-License-Identifier: GPL-2.0
"""Boot Debian on a kernel that scripts/deb has built, and test it.

Makes a disk image with Debian, systemd and the package, build/deb/FLAVOUR.img, boots it in
QEMU to a login, logs in, runs the smoke test, and powers off; once with each allocator. The
output is KTAP."""

import glob
import re

import pexpect

from llfree import ktap, program
from llfree.debian import image
from llfree.debian.packages import DEB, FLAVOURS, image_package
from llfree.ktap import check
from llfree.program import ALLOCATORS, Error
from llfree.vm import machine, qemu

MEMORY = "1G"
HZ = 250
BOOT_SECONDS = 900
SMOKE = f"{image.PROGRAMS}/scripts/guest/smoke"
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
                                   timeout=BOOT_SECONDS, dimensions=(24, 200))
        self.child.logfile_read = self.log

    def expect(self, what, text, seconds=BOOT_SECONDS):
        """Wait for an output; the text says what did not come."""
        try:
            self.child.expect(what, timeout=seconds)
        except (pexpect.TIMEOUT, pexpect.EOF) as e:
            last = "\n".join(self.child.before.splitlines()[-20:])
            raise ktap.Failure(f"{text}: {type(e).__name__}; the last output:\n{last}") from None

    def run(self, command, seconds=BOOT_SECONDS):
        """Output and exit status of a command"""
        # The echo of the line must not look like the answer.
        self.child.sendline(f"{command}; echo status''=$?")
        self.expect(r"status=\d+\r", f"'{command}' does not end", seconds)
        status = int(re.search(r"\d+", self.child.after)[0])
        output = self.child.before.replace("\r", "").partition("\n")[2]
        self.expect(PROMPT, "no prompt")
        return status, output

    def end(self):
        self.child.close(force=True)
        self.log.close()


def test(report, guest, alloc):
    """A guest from its start to its end"""
    def login():
        """systemd starts all units and a login on the console"""
        guest.expect("llfree login: ", "no login")
        guest.child.sendline("root")
        guest.expect(PROMPT, "no prompt")
        # Neither the shell nor the kernel writes into what commands say.
        guest.run("bind 'set enable-bracketed-paste off'; dmesg -n 1")
        return guest.run("uname -r")[1].strip()

    def running():
        _, state = guest.run("systemctl is-system-running --wait")
        _, failed = guest.run("systemctl --failed --no-legend --plain")
        check(state.strip() == "running", f"{state.strip()}: {failed.strip()}")

    def allocator():
        _, used = guest.run("cat /sys/kernel/mm/page_alloc/allocator")
        check(used.strip() == alloc, f"{used.strip()} is in use, not {alloc}")

    def smoke():
        status, output = guest.run(SMOKE)
        for line in output.splitlines():
            report.say(line)
        check(not status, f"exit status {status}")
        check(re.search(r"^smoke: passed", output, re.M), "no verdict")

    def off():
        guest.child.sendline("systemctl poweroff")
        guest.expect(pexpect.EOF, "the guest does not power off")

    for function in login, running, allocator, smoke, off:
        report.test(function.__name__, function)


def main():
    p = program.parser(__doc__)
    p.add_argument("--flavour", choices=FLAVOURS, default="amd64",
                   help="of the kernel (default: amd64)")
    program.add_alloc(p)
    p.add_argument("--image-only", action="store_true", help="make the disk image and stop")
    args = p.parse_args()
    program.exit_on_term()
    disk = f"{DEB}/{args.flavour}.img"
    image.update(disk, [image_package(args.flavour)])
    if args.image_only:
        return 0
    allocators = [args.alloc] if args.alloc else ALLOCATORS
    report = ktap.Report(5 * len(allocators))
    for alloc in allocators:
        report.topic = f"{args.flavour}.{alloc}"
        guest = Debian(disk, alloc, f"{disk}.{alloc}.log")
        try:
            test(report, guest, alloc)
        finally:
            guest.end()
    return report.end()
