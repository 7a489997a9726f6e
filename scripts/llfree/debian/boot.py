# SPDX-License-Identifier: GPL-2.0
"""Boot Debian on a kernel that scripts/deb has built, and test it.

Makes a disk image with Debian, systemd and the package: build/deb/FLAVOUR.img. With each
allocator, boots the image in QEMU to a login, logs in, runs the smoke test, and powers off.
With --grub, also tests the steps of README.md in which GRUB starts the kernel. Prints
KTAP."""

import re

from llfree import ktap, program
from llfree.debian import image
from llfree.debian.packages import DEB, FLAVOURS, image_package
from llfree.ktap import check
from llfree.program import ALLOCATORS

SMOKE = f"{image.PROGRAMS}/scripts/guest/smoke"


def test(report, guest, alloc):
    """Test a guest from boot to power-off."""
    def login():
        guest.login()
        return guest.run("uname -r")[1].strip()

    def running():
        _, state = guest.run("systemctl is-system-running --wait")
        _, failed = guest.run("systemctl --failed --no-legend --plain")
        check(state.strip() == "running", f"{state.strip()}: {failed.strip()}")

    def allocator():
        guest.allocator(alloc)

    def smoke():
        status, output = guest.run(SMOKE)
        for line in output.splitlines():
            report.say(line)
        check(not status, f"exit status {status}")
        check(re.search(r"^smoke: passed", output, re.M), "no verdict")

    def off():
        guest.ends("systemctl poweroff")

    for function in login, running, allocator, smoke, off:
        report.test(function.__name__, function)


def main():
    p = program.parser(__doc__)
    p.add_argument("--flavour", choices=FLAVOURS, default="amd64",
                   help="Debian's configuration of the kernel (default: amd64)")
    program.add_alloc(p)
    p.add_argument("--grub", action="store_true",
                   help="also choose allocators and kernels in GRUB, and remove the package")
    p.add_argument("--image-only", action="store_true", help="make the disk image and stop")
    args = p.parse_args()
    # Help needs no packages.
    # pylint: disable-next=import-outside-toplevel
    from llfree.debian import grub, guest
    program.exit_on_term()
    disk = f"{DEB}/{args.flavour}.img"
    image.update(disk, [image_package(args.flavour)])
    if args.image_only:
        return 0
    allocators = [args.alloc] if args.alloc else ALLOCATORS
    report = ktap.Report(5 * len(allocators) + (len(grub.TESTS) if args.grub else 0))
    for alloc in allocators:
        report.topic = f"{args.flavour}.{alloc}"
        debian = guest.Debian(guest.machine_line(disk) + guest.kernel_line(disk, alloc),
                              f"{disk}.{alloc}.log")
        try:
            test(report, debian, alloc)
        finally:
            debian.end()
    if args.grub:
        report.topic = f"{args.flavour}.grub"
        grub.test(report, args.flavour, disk)
    return report.end()
