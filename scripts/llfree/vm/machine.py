# SPDX-License-Identifier: GPL-2.0
"""Find a kernel's image and the host's features for guests: KVM, clock"""

import collections
import os
import platform
import re

from llfree.program import Error, read_text

Machine = collections.namedtuple("Machine", "image qemu machine console")
MACHINES = {
    "x86_64": Machine("arch/x86/boot/bzImage", "qemu-system-x86_64", "q35",
                      "console=ttyS0 earlyprintk=serial,ttyS0,115200"),
    "arm64": Machine("arch/arm64/boot/Image", "qemu-system-aarch64",
                     "virt,gic-version=max",
                     "console=ttyAMA0 earlycon"),
}
HOST = {"aarch64": "arm64"}.get(platform.machine(), platform.machine())


def kvm_usable():
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        if not re.search(r"\b(vmx|svm)\b", f.read()):
            return False
    return os.access("/dev/kvm", os.R_OK | os.W_OK)


def find_kernel(path):
    """Return (architecture, image)."""
    for arch, machine in MACHINES.items():
        image = os.path.join(path, machine.image)
        if os.path.isfile(image):
            return arch, image
    if not os.path.isfile(path):
        raise Error(f"no kernel in {path}: build it with scripts/build")
    with open(path, "rb") as f:
        magic = f.read(60)[56:]
    return "arm64" if magic == b"ARM\x64" else "x86_64", path


def has_option(kernel, name):
    """Return whether a kernel has an option built in. For an image, whose options are unknown,
    return True."""
    config = read_text(f"{kernel}/.config")
    return config is None or f"{name}=y\n" in config


def delay_loops(hz=100):
    """Return loops_per_jiffy from the host's clock rate, which is the rate of the guest's TSC;
    0 if the rate is unknown."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        m = re.search(r"^cpu MHz\s*: (\d+)", f.read(), re.M)
    return int(m[1]) * 1000000 // hz if m else 0


def tsc_khz():
    """Return the rate of the host's TSC, which is the rate of the guest's TSC.

    A guest on a busy host may measure a wrong rate. Return 0 if the CPU's clock rate may
    differ from the rate of the TSC."""
    with open("/proc/cpuinfo", encoding="utf-8") as f:
        text = f.read()
    m = re.search(r"^cpu MHz\s*: (\d+)\.(\d\d\d)", text, re.M)
    flags = re.search(r"^flags\s*:(.*)", text, re.M)
    if not m or not flags or "constant_tsc" not in flags[1].split() or \
       "aperfmperf" in flags[1].split() or \
       os.path.exists("/sys/devices/system/cpu/cpu0/cpufreq"):
        return 0
    return int(m[1] + m[2])
