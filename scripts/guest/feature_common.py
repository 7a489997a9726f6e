# SPDX-License-Identifier: GPL-2.0
"""Helpers that tests of features share: load, flags of frames, files."""

import contextlib
import ctypes
import errno
import mmap
import os
import shutil
import signal
import socket
import struct
import subprocess
import threading
import time

import kmodule
from memstate import Failure, MADV_POPULATE_WRITE, PAGE, meminfo, read, write
from llfree.kpageflags import ENTRY, FLAGS
from llfree.ktap import Skip, check

DEBUG = "/sys/kernel/debug"
TORTURE = f"{DEBUG}/page_alloc_torture"
COMPACT = "/proc/sys/vm/compact_memory"
PAGEMAP_PRESENT = 1 << 63
PAGEMAP_PFN = (1 << 55) - 1

_saved = {}


def fails(error, function, *args):
    """Check that a call fails with an error."""
    try:
        function(*args)
    except OSError as e:
        check(e.errno == error, f"{function.__name__}{args}: "
              f"{errno.errorcode.get(e.errno)}, not {errno.errorcode[error]}")
    else:
        raise Failure(f"{function.__name__}{args} succeeds")


def need(path, why):
    if not os.path.exists(path):
        raise Skip(f"no {path}: {why}")
    return path


def number(path):
    return int(read(path), 0)


def set_file(path, value):
    """Write a setting whose old value restored() writes back."""
    if path not in _saved:
        _saved[path] = read(path).strip()
    write(path, str(value))


@contextlib.contextmanager
def restored():
    try:
        yield
    finally:
        for path, value in _saved.items():
            write(path, value)
        _saved.clear()


def refused(path, text, error=errno.EINVAL):
    """Check that a write fails with an error and changes nothing."""
    before = read(path)
    try:
        write(path, text)
    except OSError as e:
        check(e.errno == error, f"{path}: '{text}' gives error "
              f"{errno.errorcode.get(e.errno, e.errno)}, not {errno.errorcode.get(error, error)}")
    else:
        raise Failure(f"{path} takes '{text}'")
    check(read(path) == before, f"{path}: '{text}' is refused, but was taken")


def eventually(condition, text, seconds=20):
    """Wait until a condition holds, else raise Failure with text.

    text is a string, or a function that returns a string."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise Failure(text() if callable(text) else text)
        time.sleep(0.1)


class Load:
    """A context in which programs allocate and free memory, with compaction if wanted"""

    STRESS = (["--vm", "1", "--vm-bytes", "{vm}M", "--vm-madvise", "hugepage"],
              ["--fork", "1"], ["--mmap", "1", "--mmap-bytes", "16M"],
              ["--pipe", "1"])

    def __init__(self, share=0.25, compaction=True):
        if not shutil.which("stress-ng"):
            raise Skip("stress-ng is not installed")
        size = int(meminfo("MemAvailable") * share) * PAGE >> 20
        self.argv = ["stress-ng", "--quiet", "--oomable", "--temp-path",
                     "/tmp", "--timeout", "3600"]
        for kind in self.STRESS:
            self.argv += [a.format(vm=max(size, 8)) for a in kind]
        self.compaction = compaction
        self.ending = threading.Event()

    def compact(self):
        while not self.ending.wait(0.5):
            if self.compaction and os.path.exists(COMPACT):
                write(COMPACT, "1")

    def __enter__(self):
        # pylint: disable=consider-using-with
        self.proc = subprocess.Popen(self.argv, stdin=subprocess.DEVNULL,
                                     stdout=subprocess.DEVNULL,
                                     stderr=subprocess.DEVNULL,
                                     start_new_session=True)
        self.thread = threading.Thread(target=self.compact, daemon=True)
        self.thread.start()
        return self

    def __exit__(self, *_):
        self.ending.set()
        self.thread.join()
        ended = self.proc.poll()
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.proc.pid, signal.SIGKILL)
        self.proc.wait()
        check(ended is None, f"stress-ng ended early with status {ended}")


class Child:
    """A context in which a child process runs a function, and is killed at the end"""

    def __init__(self, function, *args):
        self.pid = os.fork()
        if not self.pid:
            try:
                function(*args)
            finally:
                os._exit(0)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class Owner:
    """A process with memory, which can hold pages of this memory so that the pages cannot move

    The process has freed every second piece, so that free frames lie between its pages."""

    PIECE = 64 * PAGE

    def __init__(self, size):
        self.size = size

    def own(self, theirs):
        area = anonymous(self.size)
        area.madvise(mmap.MADV_NOHUGEPAGE)
        area.madvise(MADV_POPULATE_WRITE)
        for start in range(self.PIECE, self.size, 2 * self.PIECE):
            area.madvise(mmap.MADV_DONTNEED, start, self.PIECE)
        # A pipe keeps a reference to each page in it.
        held = os.pipe()
        vmsplice = ctypes.CDLL(None, use_errno=True).vmsplice
        while index := theirs.recv(8):
            index = int.from_bytes(index, "little")
            if index < self.size // PAGE:
                page = struct.pack("=QQ", address_of(area) + index * PAGE, PAGE)
                check(vmsplice(held[1], page, 1, 0) == PAGE, "vmsplice() failed")
            frames = frames_of(area, self.size)
            theirs.sendall(struct.pack(f"={len(frames)}Q", *frames))

    def __enter__(self):
        self.socket, theirs = socket.socketpair()
        self.child = Child(self.own, theirs)
        theirs.close()
        return self

    def frames(self, hold=None):
        """Return the process's frames in the order of addresses, 0 for a page without a frame.
        The page with number hold cannot move from now on."""
        index = self.size // PAGE if hold is None else hold
        self.socket.sendall(index.to_bytes(8, "little"))
        data = b""
        while len(data) < self.size // PAGE * 8:
            part = self.socket.recv(1 << 20)
            check(part, "a process that has memory has ended")
            data += part
        check(any(data), "no frame numbers in /proc/self/pagemap")
        return list(memoryview(data).cast("Q"))

    def __exit__(self, *args):
        self.socket.close()
        self.child.__exit__(*args)


def read_files(top="/usr"):
    """Read large files below a directory again and again, to fill the page cache."""
    while True:
        for path, _, names in os.walk(top):
            for name in (f"{path}/{n}" for n in names):
                with contextlib.suppress(OSError):
                    if os.path.isfile(name) and os.path.getsize(name) > 1 << 20:
                        with open(name, "rb") as f:
                            while f.read(1 << 20):
                                pass


def frame_flags(start, nr):
    """Return the flags of frames, from /proc/kpageflags."""
    with open(FLAGS, "rb", buffering=0) as f:
        data = os.pread(f.fileno(), nr * ENTRY, start * ENTRY)
    return memoryview(data).cast("Q")


def frames_with(flag, start, end):
    """Yield all frames of a range that have a flag."""
    step = 1 << 15
    for pfn in range(start, end, step):
        for i, flags in enumerate(frame_flags(pfn, min(step, end - pfn))):
            if flags >> flag & 1:
                yield pfn + i


def has_flag(pfn, flag):
    return bool(frame_flags(pfn, 1)[0] >> flag & 1)


def address_of(area):
    """Return the address of a mapping."""
    return ctypes.addressof(ctypes.c_char.from_buffer(area))


def frames_of(area, size):
    """Return the frames of a mapping's pages, from /proc/self/pagemap; 0 for no frame."""
    start = address_of(area) // PAGE
    with open("/proc/self/pagemap", "rb", buffering=0) as f:
        data = b""
        while len(data) < size // PAGE * 8:
            part = os.pread(f.fileno(), min(size // PAGE * 8 - len(data),
                                            1 << 20),
                            start * 8 + len(data))
            check(part, "/proc/self/pagemap ends early")
            data += part
    return [e & PAGEMAP_PFN if e & PAGEMAP_PRESENT else 0
            for e in memoryview(data).cast("Q")]


def anonymous(size):
    return mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)


@contextlib.contextmanager
def torture_module():
    """Load module page_alloc_torture; at the end stop its run and remove it."""
    path = kmodule.find("page_alloc_torture")
    if not path or not shutil.which("insmod"):
        raise Skip("no page_alloc_torture.ko of this kernel (set KERNEL=DIR), "
                   "or no insmod")
    kmodule.insert(path)
    try:
        yield
    finally:
        with contextlib.suppress(OSError):
            write(f"{TORTURE}/run", "0")
        kmodule.remove("page_alloc_torture")
