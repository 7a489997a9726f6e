# SPDX-License-Identifier: GPL-2.0
"""Test the steps of README.md with GRUB: choose LLFree, go back, remove the kernel

The tests use one copy of the disk image. Each test boots the copy by its boot loader, and
changes the copy for the next test as a user would."""

import contextlib
import os
import subprocess

from llfree.debian import guest
from llfree.ktap import check

# The menu on the serial port. update-grub reads the files in the order of their names.
SERIAL = """\
GRUB_TERMINAL=serial
GRUB_SERIAL_COMMAND="serial --unit=0 --speed=115200"
GRUB_TIMEOUT=10
GRUB_CMDLINE_LINUX_DEFAULT="{parameters}"
"""
LLFREE = "/etc/default/grub.d/llfree.cfg"
CHOOSE = f"""echo 'GRUB_CMDLINE_LINUX="$GRUB_CMDLINE_LINUX page_alloc=llfree"' >{LLFREE}"""
DOWN, END, CONTINUE = "\x1b[B", "\x05", "\x18"


class Machine:
    """A copy of a disk image, and the guests that boot from the copy"""

    def __init__(self, flavour, disk):
        self.flavour, self.image, self.disk = flavour, disk, f"{disk}.grub"
        # Number of lines in GRUB's editor above the line with the kernel's parameters
        self.linux_line = None
        subprocess.run(["cp", "--sparse=always", disk, self.disk], check=True)

    @contextlib.contextmanager
    def guest(self, name, more=()):
        """Boot a guest that writes to the copy, for a context."""
        argv = guest.machine_line(self.disk, snapshot=False) + list(more)
        debian = guest.Debian(argv, f"{self.disk}.{name}.log")
        try:
            yield debian
        finally:
            debian.end()

    @contextlib.contextmanager
    def grub(self, name, ours=True):
        """Boot a guest until its boot loader shows the menu, for a context.

        Yield the guest, and a function that logs in and checks which kernel runs."""
        def login():
            debian.login()
            _, release = debian.run("uname -r")
            found = f"-llfree-{self.flavour}" in release
            check(found == ours, f"kernel {release.strip()} runs")

        with self.guest(name) as debian:
            debian.expect("GNU GRUB", "no menu")
            yield debian, login


def run(debian, command):
    """Run a command, and raise Failure unless it succeeds."""
    status, output = debian.run(command)
    check(not status, f"'{command}' ends with status {status}: {output}")


def install(machine):
    """Install GRUB on the disk, and choose LLFree."""
    serial = SERIAL.format(parameters=" ".join(guest.parameters()))
    with machine.guest("install", guest.kernel_line(machine.image)) as debian:
        debian.login()
        run(debian, "grub-install /dev/vda")
        run(debian, "mkdir -p /etc/default/grub.d")
        for line in serial.splitlines():
            run(debian, f"echo '{line}' >>/etc/default/grub.d/a-serial.cfg")
        run(debian, CHOOSE)
        run(debian, "update-grub")
        debian.ends("reboot")


def llfree(machine):
    """Check that the default entry boots with LLFree. Then go back to buddy."""
    with machine.grub("llfree") as (debian, login):
        login()
        debian.allocator("llfree")
        run(debian, f"rm {LLFREE}")
        run(debian, "update-grub")
        debian.ends("reboot")


def buddy(machine):
    """Check that the default entry boots with buddy."""
    with machine.grub("buddy") as (debian, login):
        login()
        debian.allocator("buddy")
        # GRUB's editor has an empty line below the entry's first line.
        _, line = debian.run("sed -n '/^menuentry/,/^}/p' /boot/grub/grub.cfg | "
                             "grep -nm1 '^[[:space:]]*linux'")
        machine.linux_line = int(line.partition(":")[0])
        debian.ends("reboot")


def edited(machine):
    """Check that an entry that is edited in the menu boots with LLFree, once."""
    with machine.grub("edited") as (debian, login):
        debian.child.send("e")
        debian.expect("setparams", "no editor")
        debian.child.send(DOWN * machine.linux_line + END + " page_alloc=llfree" + CONTINUE)
        login()
        debian.allocator("llfree")
        debian.ends("reboot")


def other(machine):
    """Check that Debian's kernel boots from the submenu. Then remove the kernel with
    LLFree."""
    with machine.grub("other", ours=False) as (debian, login):
        debian.child.send(DOWN + "\r")
        debian.expect("recovery mode", "no submenu")
        debian.child.send(DOWN + DOWN + "\r")
        login()
        run(debian, f"apt-get purge -y 'linux-image-*-llfree-{machine.flavour}'")
        _, left = debian.run("ls /boot | grep llfree")
        check(not left.strip(), f"/boot still has {left}")
        debian.ends("reboot")


def removed(machine):
    """Check that the default entry boots Debian's kernel."""
    with machine.grub("removed", ours=False) as (debian, login):
        login()
        debian.ends("systemctl poweroff")


TESTS = (install, llfree, buddy, edited, other, removed)


def test(report, flavour, disk):
    """Run the tests on a copy of a disk image."""
    machine = Machine(flavour, disk)
    try:
        for function in TESTS:
            report.test(function.__name__, lambda function=function: function(machine))
    finally:
        os.unlink(machine.disk)
