# SPDX-License-Identifier: GPL-2.0
"""Test tools/mm/llfree-dump on dumps of a guest's memory"""

import os
import re
import shutil
import struct
import subprocess
import tempfile

from llfree.features.common import connect, vm
from llfree.features.hotplug import Memory
from llfree.ktap import Failure, Report, Skip, check
from llfree.paths import GUEST, TOP
from llfree.vm.machine import has_option

READER = f"{TOP}/tools/mm/llfree-dump.c"
NOTE = b"VMCOREINFO\0"
PT_NOTE = 4
# Exit statuses of the reader, tools/mm/llfree-dump
DAMAGED, BUDDY, UNKNOWN = 1, 2, 3
# Difference of NR_FREE_PAGES that each CPU may hold: calculate_normal_threshold()
MOST_KEPT_BACK = 125


class Dump:
    """A dump, and the frames that were free in it, as the guest printed"""

    def __init__(self, path, reader):
        self.path, self.reader = path, reader
        self.zones = {}         # (node, name): ((first, end), free, ranges)
        self.same = False

    def line(self, text):
        words = text.split()
        if text.startswith("# zone "):
            node, name, *numbers = words[2:]
            first, end, free = map(int, numbers)
            self.zones[int(node), name] = ((first, end), free, [])
        elif text.startswith("# range "):
            *_, (_, _, ranges) = self.zones.values()
            ranges.append(tuple(map(int, words[2:])))
        elif text == "# now same":
            self.same = True

    def read(self, *options):
        """Run the reader and return (exit status, output, errors)."""
        ended = subprocess.run([self.reader, *options, self.path],
                               stdin=subprocess.DEVNULL, capture_output=True,
                               text=True, check=False)
        return ended.returncode, ended.stdout, ended.stderr.strip()

    def free_frames(self, *options):
        """Return {(node, name): ((first, end), counts, ranges)} as the reader prints it."""
        status, out, err = self.read("--ranges", *options)
        check(not status, f"exit status {status}: {err}")
        found = {}
        for words in map(str.split, out.splitlines()[1:]):
            if words[0] == "free":
                ranges.append((int(words[1]), int(words[2])))
                continue
            first, end, *counts = map(int, words[2:])
            ranges = []
            found[int(words[0]), words[1]] = ((first, end), counts, ranges)
        return found

    def note(self):
        """Return (offset, text) of the note VMCOREINFO in the dump."""
        with open(self.path, "rb") as f:
            head = f.read(64)
            phoff, = struct.unpack_from("<Q", head, 32)
            f.seek(phoff)
            headers = f.read(56 * struct.unpack_from("<H", head, 56)[0])
            for kind, _, offset, _, _, size, *_ in struct.iter_unpack(
                    "<IIQQQQQQ", headers):
                if kind != PT_NOTE:
                    continue
                f.seek(offset)
                notes = f.read(size)
                at = notes.find(NOTE)
                if at >= 12:
                    length, = struct.unpack_from("<I", notes, at - 8)
                    text = notes[at + 12:at + 12 + length]
                    return offset + at, text.rstrip(b"\0").decode()
        raise Failure("there is no note VMCOREINFO in the dump")

    def overwrite(self, offset, data):
        with open(self.path, "r+b") as f:
            f.seek(offset)
            f.write(data)


class DumpGuest:
    """A guest that prints which frames are free, and dumps of its memory"""

    CPUS = 2
    OPTIONS = ("--smp", str(CPUS), "--mem", "512M", "--maxmem", "8G", "--slots", "4",
               "--numa", "2", "--append", "movablecore=96M cma=32M")

    def __init__(self, args, directory):
        self.args = args
        self.directory = directory
        self.reader = f"{directory}/llfree-dump"
        self.sockets = f"{directory}/qmp", f"{directory}/go"
        self.port = None
        self.memory = Memory(self.sockets[0])
        self.allocator = None
        self.dumps = {}         # by the name that the guest gives
        self.last = None

    def compile(self):
        check(shutil.which("gcc"), "gcc is not installed")
        ended = subprocess.run(["gcc", "-O2", "-Wall", "-Wextra", "-o",
                                self.reader, READER], check=False)
        check(not ended.returncode, f"gcc cannot compile {READER}")

    def take(self, name):
        """Stop the guest, dump its memory, resume the guest and notify it."""
        self.last = self.dumps.setdefault(
            name, Dump(f"{self.directory}/{name}", self.reader))
        qmp = self.memory.qmp
        qmp.command("stop")
        qmp.command("dump-guest-memory", paging=False, protocol=f"file:{self.last.path}")
        qmp.command("cont")
        if not self.port:
            self.port = connect(self.sockets[1])
        self.port.sendall(b"g")

    def line(self, text):
        words = text.split()
        if text.startswith("# now allocator "):
            self.allocator = words[-1]
        elif text.startswith("# now dump "):
            self.take(words[-1])
        elif text.startswith("# now plug "):
            self.memory.obey(text)
        elif self.last:
            self.last.line(text)

    def run(self):
        """Run the guest and return its exit status."""
        qmp, go = self.sockets
        options = [*self.OPTIONS, "--qmp", qmp]
        for argument in ("-device", "vmcoreinfo", "-chardev",
                         f"socket,id=go,path={go},server=on,wait=off",
                         "-device", "virtserialport,chardev=go,name=vmcore.go"):
            options.append(f"--qemu-arg={argument}")
        with subprocess.Popen(
                vm(self.args, options, [f"{GUEST}/features", "vmcore"]),
                stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
                errors="replace") as proc:
            for text in proc.stdout:
                text = text.rstrip()
                if not text.startswith("# range "):
                    print(text, flush=True)
                self.line(text)
        self.memory.close()
        if self.port:
            self.port.close()
        return proc.returncode

    def dump(self, name):
        check(name in self.dumps, f"there is no dump '{name}'")
        return self.dumps[name]


def same_frames(dump):
    """Check that reader and guest agree on each free frame."""
    check(dump.same, "the guest's free memory changed during every dump")
    found = dump.free_frames()
    check(list(found) == list(dump.zones), f"zones {list(found)}, but the "
          f"guest has {list(dump.zones)}")
    for zone, (span, _, ranges) in found.items():
        check(span == dump.zones[zone][0],
              f"zone {zone} is {span}, but in the guest {dump.zones[zone][0]}")
        differ = set(ranges) ^ set(dump.zones[zone][2])
        check(not differ, f"zone {zone}: {len(differ)} ranges differ, the first "
              f"is {min(differ, default=None)}")
    # A single range would not show much.
    ranges = [r for _, _, rs in found.values() for r in rs]
    check(len(ranges) > 1000, f"there are only {len(ranges)} ranges")
    return (f"{sum(b - a + 1 for a, b in ranges)} free frames in {len(ranges)} "
            f"ranges of {len(found)} zones")


def same_counts(dump):
    """Check that the counters of zones agree with the bitmaps."""
    said = []
    for zone, (_, counts, ranges) in dump.free_frames().items():
        free, isolated, counter, differ = counts
        guests = dump.zones[zone][1]
        check(free == sum(b - a + 1 for a, b in ranges),
              f"zone {zone}: {free} free, but its ranges have another sum")
        check(free - isolated == guests, f"zone {zone}: {free - isolated} free, "
              f"but in the guest {guests}")
        check(abs(counter - guests) <= MOST_KEPT_BACK * DumpGuest.CPUS,
              f"zone {zone}: {guests} free, but the counter is {counter}")
        check(not differ, f"zone {zone}: {differ} blocks have a counter that "
              "does not match their bits")
        said.append(f"{zone[0]}/{zone[1]} {free} (counter {counter})")
    return ", ".join(said)


def without_note(dump):
    """Check that without the note, the reader finds its text in memory, or reads a file."""
    expected = dump.free_frames()
    at, text = dump.note()
    dump.overwrite(at, b"X")
    try:
        check(dump.free_frames() == expected, "without the note, the result is different")
        path = f"{dump.path}.text"
        with open(path, "w", encoding="utf-8") as f:
            f.write(text)
        check(dump.free_frames("--vmcoreinfo", path) == expected,
              "with a file, the result is different")
        changed = re.sub(r"(LLFREE_LAYOUT\)=)\d+", r"\g<1>999", text)
        check(changed != text, "the text has no layout")
        with open(path, "w", encoding="utf-8") as f:
            f.write(changed)
        status, _, err = dump.read("--vmcoreinfo", path)
        check(status == UNKNOWN and "layout 999" in err,
              f"layout 999 gives status {status}: {err}")
    finally:
        dump.overwrite(at, NOTE[:1])
    return f"{len(text)} bytes of text"


def truncated(dump):
    """Check that the reader refuses a truncated dump."""
    os.truncate(dump.path, os.path.getsize(dump.path) // 2)
    status, _, err = dump.read()
    check(status == DAMAGED and "truncated" in err, f"status {status}: {err}")
    return err.rpartition(": ")[2]


def buddy_named(dump):
    """Check that the reader names the buddy allocator in a dump of a guest with buddy."""
    status, out, err = dump.read()
    check(status == BUDDY and not out and "buddy allocator" in err,
          f"status {status}: {err}")
    return err.rpartition(": ")[2]


def grown_frames(boot, dump):
    """Check the free frames of a zone that has grown beyond holes, and of a zone that is new
    since boot."""
    text = same_frames(dump)
    check(set(dump.zones) > set(boot.zones), f"zones {list(dump.zones)}, and at boot "
          f"{list(boot.zones)}")
    end = max(end for (_, end), *_ in boot.zones.values())
    added = [a for *_, ranges in dump.zones.values() for a, _ in ranges if a >= end]
    check(len(added) > 100, f"only {len(added)} ranges are in added memory")
    return f"{text}, {len(added)} ranges in added memory"


def run(args):
    def grown(function, *names):
        if not has_option(args.kernel, "CONFIG_MEMORY_HOTPLUG"):
            raise Skip("CONFIG_MEMORY_HOTPLUG is not set")
        return function(*map(guest.dump, names))

    with tempfile.TemporaryDirectory() as directory:
        guest = DumpGuest(args, directory)
        guest.compile()
        status = guest.run()
        if guest.allocator == "buddy":
            tests = {"buddy": lambda: buddy_named(guest.dump("boot"))}
        else:
            tests = {"frames": lambda: same_frames(guest.dump("boot")),
                     "counts": lambda: same_counts(guest.dump("boot")),
                     "grown_frames": lambda: grown(grown_frames, "boot", "grown"),
                     "grown_counts": lambda: grown(same_counts, "grown"),
                     "without_note": lambda: without_note(guest.dump("boot")),
                     "truncated": lambda: truncated(guest.dump("boot"))}
        tap = Report(len(tests), "vmcore")
        for name, function in tests.items():
            tap.test(name, function)
    return tap.end() or status
