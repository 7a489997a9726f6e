# SPDX-License-Identifier: GPL-2.0
"""Steps that test kernels in Debian's configurations"""

from llfree.debian.packages import FLAVOURS
from llfree.testing.count import ktap
from llfree.testing.run import command

# Modules for the disk, its file system and systemd; no others are built
MODULES = "virtio_blk,virtio_pci,virtio_rng,ext4,crc32c_generic,autofs4"


def step_debian():
    """packages in Debian's configurations, booted by systemd with both allocators"""
    if not command("packages for debian", ["scripts/deps", "debian"], 1800):
        return
    for flavour in FLAVOURS:
        if command(f"deb {flavour}", ["scripts/deb", "--flavour", flavour,
                                      "--modules", MODULES], 2 * 3600):
            # README.md has steps to install and remove a kernel of this flavour.
            more = ["--grub"] if flavour == "amd64" else []
            command(f"debian {flavour}", ["scripts/deb-boot", "--flavour", flavour, *more],
                    3600, ktap)
