# SPDX-License-Identifier: GPL-2.0
"""Test persistent memory as device DAX and as memory of the kernel, by ndctl and daxctl"""

import json
import mmap
import os
import shutil
import struct
import subprocess
import time

import feature_hwpoison as hwpoison
from feature_blocks import block_pages, blocks, go_offline, state_is_right
from feature_common import Load, Skip, check, eventually, need
from feature_hotplug import managed, spans
from memstate import PAGE, has_option, meminfo, write, zones

BUS = "/sys/bus/dax"
DRIVERS = ("device_dax", "kmem")
HUGE = 2 << 20
MIB_PAGES = (1 << 20) // PAGE


def run(*argv):
    """Run a program and return its output."""
    ended = subprocess.run(argv, check=False, text=True, stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.PIPE, timeout=300)
    check(not ended.returncode, f"{' '.join(argv)}: exit status {ended.returncode}: "
          f"{' '.join(ended.stderr.split())}")
    return ended.stdout


def listed(*argv):
    text = run(*argv)
    found = json.loads(text) if text.strip() else []
    return found if isinstance(found, list) else [found]


def know_drivers():
    """Write the files in which libkmod finds built-in drivers, since daxctl loads drivers by
    libkmod."""
    place = f"/lib/modules/{os.uname().release}"
    if os.path.exists(f"{place}/modules.builtin.bin"):
        return
    os.makedirs(place, exist_ok=True)
    write(f"{place}/modules.order", "")
    write(f"{place}/modules.builtin",
          "".join(f"kernel/drivers/dax/{name}.ko\n" for name in DRIVERS))
    run("depmod")


def ready():
    """Check for one region of persistent memory, and free all of it."""
    for tool in "ndctl", "daxctl":
        need(shutil.which(tool) or f"/usr/bin/{tool}", f"{tool} is not installed")
    need("/sys/bus/nd", "CONFIG_LIBNVDIMM is not set")
    for name in DRIVERS:
        need(f"{BUS}/drivers/{name}", "CONFIG_DEV_DAX or CONFIG_DEV_DAX_KMEM is not set")
    regions = listed("ndctl", "list", "-R")
    check(len(regions) == 1, f"{len(regions)} regions")
    know_drivers()
    # A failed test may have left devices and namespaces.
    for device in listed("daxctl", "list", "-D"):
        if device["mode"] == "system-ram":
            run("daxctl", "reconfigure-device", "--mode=devdax", "--force", device["chardev"])
        run("ndctl", "destroy-namespace", "--force", "all")
    if regions[0]["size"] != listed("ndctl", "list", "-R")[0]["available_size"]:
        # A new NVDIMM has no labels.
        run("ndctl", "disable-region", "all")
        run("ndctl", "init-labels", "all")
        run("ndctl", "enable-region", "all")


def device_zones():
    """Return the number of pages in the spans of device zones. Check that the page allocator
    manages none of these pages."""
    found = {key: span for key, span in spans().items() if key[1] == "Device"}
    for key, (_, _, have) in found.items():
        check(not have, f"zone {key} has {have} pages")
    return sum(span[1] for span in found.values())


class Namespace:
    """A namespace of all persistent memory, with struct pages where: in mem or dev"""

    def __init__(self, where):
        self.where = where

    def create(self):
        info, = listed("ndctl", "create-namespace", "--mode=devdax", f"--map={self.where}")
        self.name = info["dev"]
        device, = info["daxregion"]["devices"]
        self.device, self.size = device["chardev"], device["size"]
        self.node = device["target_node"]
        eventually(lambda: os.path.exists(f"/dev/{self.device}"), "no device")
        return self

    def __enter__(self):
        return self.create()

    def set_mode(self, mode, *options):
        run("daxctl", "reconfigure-device", f"--mode={mode}", *options, self.device)
        now, = listed("daxctl", "list", "-d", self.device)
        check(now["mode"] == mode and now.get("state") != "disabled",
              f"daxctl has not set mode {mode}: {now}")

    def destroy(self):
        run("ndctl", "destroy-namespace", "--force", self.name)
        check(not os.path.exists(f"/dev/{self.device}"), "the device stays")

    def __exit__(self, kind, *_):
        if not kind:
            self.destroy()

    def use(self, number):
        """Write pages of the device, and check the content in another mapping."""
        if not has_option("CONFIG_FS_DAX"):
            return      # the device cannot be mapped
        fd = os.open(f"/dev/{self.device}", os.O_RDWR)
        try:
            for reading in False, True:
                with mmap.mmap(fd, self.size) as area:
                    for offset in range(0, self.size, HUGE // 2):
                        what = struct.pack("=QQ", number, offset)
                        if reading:
                            check(area[offset:offset + len(what)] == what,
                                  f"{self.device} has changed at {offset:#x}")
                        area[offset:offset + len(what)] = what
        finally:
            os.close(fd)


class Added:
    """The memory blocks of a device that has become memory of the kernel"""

    def __init__(self, space, zone, *options):
        self.space = space
        self.zone = space.node, zone
        before = {b.number for b in blocks()}
        self.total, self.had = meminfo("MemTotal"), managed(*self.zone)
        space.set_mode("system-ram", *options)
        self.blocks = [b for b in blocks() if b.number not in before]
        # The device may begin and end within a block.
        least = space.size // PAGE // block_pages() - 1
        check(len(self.blocks) >= least, f"{len(self.blocks)} new blocks, not {least} or more")
        offline = [b.number for b in self.blocks if not b.online()]
        check(not offline, f"blocks {offline} are offline")
        self.pages = len(self.blocks) * block_pages()
        self.check_total(self.pages)
        state_is_right(f"{self.pages // MIB_PAGES} MiB in zone {zone}")

    def check_total(self, pages):
        for name, now, want in (
                ("MemTotal", meminfo("MemTotal"), self.total + pages),
                (f"zone {self.zone}", managed(*self.zone), self.had + pages)):
            check(now == want, f"{name}: {now} pages, not {want}")

    def used(self):
        """Check that a program that takes nearly all memory gets frames of the device. Return
        their number."""
        first, last = self.blocks[0].frames()[0], self.blocks[-1].frames()[-1]
        taken = sum(first <= pfn <= last for pfn in hwpoison.take_all())
        check(taken > self.pages * 3 // 4, f"of {self.pages} pages more, {taken} can be used")
        return taken

    def under_load(self, seconds):
        def busy():
            return sum(z.used for z in zones() if (z.node, z.name) == self.zone)

        with Load(0.2):
            time.sleep(seconds)
            eventually(lambda: busy() > 4000,
                       lambda: f"{busy()} pages of zone {self.zone} in use under load")
            self.offline()

    def offline(self):
        for block in self.blocks:
            go_offline(block)

    def gone(self):
        self.check_total(0)
        self.space.set_mode("devdax")
        left = {b.number for b in blocks()} & {b.number for b in self.blocks}
        check(not left, f"blocks {left} are still there")
        device_zones()
        state_is_right("a device again")


def tests(args):
    def devices():
        """a device has struct pages in memory or in itself, and no zone manages its pages"""
        ready()
        total, sizes = meminfo("MemTotal"), []
        for where in "mem", "dev":
            with Namespace(where) as space:
                sizes.append(space.size // PAGE)
                check(device_zones() >= sizes[-1], "no zone spans the device")
                state_is_right(f"device with --map={where}")
                check(meminfo("MemTotal") == total, "MemTotal has changed")
            state_is_right("device destroyed")
        check(sizes[0] > sizes[1], f"with and without struct pages there are {sizes} pages")
        return f"{sizes[0]} pages, {sizes[1]} with their struct pages"

    def mapping():
        """a device can be mapped, and keeps its content"""
        ready()
        if not has_option("CONFIG_FS_DAX"):
            raise Skip("CONFIG_FS_DAX is not set")
        for number, where in enumerate(("mem", "dev")):
            with Namespace(where) as space:
                for _ in range(2):
                    space.use(number)
            state_is_right(f"{space.device} was mapped")

    def memory():
        """the device becomes memory of the movable zone, and a device again (L)"""
        ready()
        used = []
        for number, where in enumerate(("mem", "dev")):
            with Namespace(where) as space:
                for again in False, True:
                    added = Added(space, "Movable")
                    if again:
                        added.under_load(args.seconds / 4)
                    else:
                        used.append(added.used())
                        added.offline()
                    added.gone()
                    space.use(number)
        return f"{', '.join(map(str, used))} pages of it used"

    def online():
        """memory that is in use does not become a device"""
        ready()
        with Namespace("mem") as space:
            added = Added(space, "Movable")
            ended = subprocess.run(["daxctl", "reconfigure-device", "--mode=devdax",
                                    space.device], check=False, capture_output=True)
            check(ended.returncode, "daxctl has turned online memory into a device")
            added.check_total(added.pages)
            state_is_right("daxctl has refused")
            run("daxctl", "reconfigure-device", "--mode=devdax", "--force", space.device)
            added.check_total(0)
            space.use(2)

    def kernel_memory():
        """the device becomes memory of the kernel (last, since the memory may stay)"""
        ready()
        space = Namespace("dev").create()
        added = Added(space, "Normal", "--no-movable")
        used = added.used()
        with Load(0.3):
            time.sleep(args.seconds / 4)
        state_is_right("memory of the kernel")
        stay = [b for b in added.blocks if not b.set("offline")]
        added.check_total(len(stay) * block_pages())
        if not stay:
            added.gone()
            space.destroy()
        return f"{used} pages of it used, {len(stay)} of {len(added.blocks)} blocks stay"

    return devices, mapping, memory, online, kernel_memory
