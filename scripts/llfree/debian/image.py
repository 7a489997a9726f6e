# SPDX-License-Identifier: GPL-2.0
"""Make a disk image with Debian, a kernel's package, and the programs for guests"""

import glob
import os
import shutil
import subprocess

from llfree.ktap import LIBRARY
from llfree.paths import LINUX, SCRIPTS, TOP
from llfree.program import Error, say

SUITE = "bookworm"
# systemd with a serial console, initramfs and boot loader, a kernel of Debian, and the
# programs that smoke and stress start
INCLUDE = ("systemd-sysv,udev,dbus,initramfs-tools,kmod,procps,util-linux,login,zstd,"
           "grub-pc,linux-image-cloud-amd64,python3,stress-ng")
# The first MiB has the partition table and GRUB.
START_MIB = 1
SIZE_MIB = 3072
PROGRAMS = "/opt/llfree"


def hooks(packages, image):
    """Return the hooks that mmdebstrap runs after the installation of Debian's packages."""
    names = " ".join(f"/tmp/{os.path.basename(p)}" for p in packages)
    copies = " ".join(f"'{p}'" for p in packages)
    programs_linux = os.path.dirname(f"{PROGRAMS}/{os.path.relpath(LINUX, TOP)}/{LIBRARY}")
    return [
        f"copy-in {copies} /tmp",
        f'chroot "$1" dpkg -i {names}',
        f'rm -f {" ".join(f"$1{n}" for n in names.split())}',
        # Programs for guests need their files at the same paths as in a checkout.
        f'mkdir -p "$1{PROGRAMS}/scripts" "$1{programs_linux}"',
        f"copy-in '{SCRIPTS}/guest' '{SCRIPTS}/llfree' {PROGRAMS}/scripts",
        f"copy-in '{LINUX}/{LIBRARY}' {programs_linux}",
        'chroot "$1" passwd -d root',
        'echo "/dev/vda1 / ext4 defaults 0 1" >"$1/etc/fstab"',
        'echo llfree >"$1/etc/hostname"',
        "copy-out /boot " + f"'{image}.boot'",
        # A bind mount leaves out /proc and other mounts in the root.
        f"truncate -s {SIZE_MIB}M '{image}.new' && mkdir -p '{image}.root' && "
        f"mount --bind \"$1\" '{image}.root' && "
        f"{{ mke2fs -q -F -t ext4 -E offset={START_MIB << 20} -d '{image}.root' "
        f"'{image}.new' {SIZE_MIB - START_MIB}M; status=$?; "
        f"umount '{image}.root' && rmdir '{image}.root' && exit $status; }}",
        f"echo 'start={START_MIB}MiB, bootable' | sfdisk -q '{image}.new'",
    ]


def update(image, packages):
    """Make a disk image, and a directory {image}.boot/boot with kernels and initramfs. Do
    nothing if the image is newer than all of its sources."""
    sources = [*packages, *glob.glob(f"{SCRIPTS}/guest/*"),
               *glob.glob(f"{SCRIPTS}/llfree/**/*.py", recursive=True)]
    if os.path.exists(image) and \
       os.path.getmtime(image) > max(map(os.path.getmtime, sources)):
        return
    if os.geteuid():
        raise Error(f"making {image} needs root")
    if not shutil.which("mmdebstrap"):
        raise Error("no mmdebstrap: run scripts/deps debian")
    for old in f"{image}.boot", f"{image}.new":
        subprocess.run(["rm", "-rf", old], check=True)
    os.makedirs(f"{image}.boot")
    argv = ["mmdebstrap", "--quiet", "--variant=minbase", f"--include={INCLUDE}"]
    argv += [f"--customize-hook={hook}" for hook in hooks(packages, image)]
    say(f"making {image}: Debian {SUITE} (some minutes)")
    with open(f"{image}.log", "w", encoding="utf-8") as log:
        status = subprocess.run([*argv, SUITE, "/dev/null"], stdin=subprocess.DEVNULL,
                                stdout=log, stderr=subprocess.STDOUT,
                                check=False).returncode
    if status:
        with open(f"{image}.log", encoding="utf-8", errors="replace") as log:
            print("".join(log.readlines()[-20:]), end="")
        raise Error(f"mmdebstrap fails, see {image}.log")
    os.replace(f"{image}.new", image)
