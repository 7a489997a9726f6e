# SPDX-License-Identifier: GPL-2.0
"""Test pools in persistent memory, also after crashes of the guest.

kvlog, the client in samples/nd_pool/, changes a store with several threads and prints the
operations that are done. The guest crashes at a random moment: the host kills QEMU or
resets the guest, or the guest reboots or starts a new kernel at once. In the next session,
kvlog has to find the results of all operations done, and no frame with two owners. Frames
of unfinished operations may have leaked, and have to be free after a sweep. The pool is in
a file that is an NVDIMM, or in memory that memmap= reserves, whose content a reset keeps."""

import contextlib
import functools
import os
import random
import shutil
import signal
import subprocess
import tempfile
import threading

from llfree.features.common import Qmp, vm
from llfree.ktap import Failure, Report, check
from llfree.paths import BUILD, GUEST, TOP, linux
from llfree.program import make_env

TOOLS = f"{BUILD}/pool-tools"
SIZE_MIB = 256
THREADS = 4
# Ways to crash the guest: the host does kill and reset, the guest does the others
NVDIMM_ENDS = "kill", "reset", "sysrq", "kexec"
MEMMAP_ENDS = "reset", "sysrq", "kexec"
BOOT_S = 600


@functools.cache
def build_tools():
    """Build llpool and kvlog once, and return their directory."""
    os.makedirs(TOOLS, exist_ok=True)
    for argv in (["make", "-s", "-f", f"{TOP}/tools/mm/llpool.mk", f"O={TOOLS}",
                  f"LINUX={linux()}"],
                 ["make", "-s", "-C", f"{TOP}/samples/nd_pool", f"O={TOOLS}"]):
        ended = subprocess.run(argv, check=False, env=make_env(), stdin=subprocess.DEVNULL)
        check(not ended.returncode, f"{' '.join(argv)} failed")
    return TOOLS


def create(path, mib=SIZE_MIB):
    """Make a pool in a file."""
    ended = subprocess.run([f"{build_tools()}/llpool", "create", "--force", "--size", f"{mib}M",
                            path], check=False, stdin=subprocess.DEVNULL,
                           stdout=subprocess.DEVNULL)
    check(not ended.returncode, "llpool cannot make a pool in a file")


def features(args):
    """Run topic pool of guest/features, with a pool and a copy of the pool."""
    with tempfile.TemporaryDirectory() as directory:
        pool, copy = f"{directory}/pool", f"{directory}/copy"
        create(pool)
        shutil.copyfile(pool, copy)
        return subprocess.run(
            vm(args, ["--smp", "4", "--mem", "1G", "--nvdimm", pool, "--nvdimm", copy],
               [f"{GUEST}/features", "pool", "--seconds", str(args.seconds)]),
            check=False, stdin=subprocess.DEVNULL).returncode


def poison(args):
    """Run topic poolbad, which puts poison into a pool. The CPU has to be one of Intel, since
    the kernel handles poison only there."""
    with tempfile.TemporaryDirectory() as directory:
        create(f"{directory}/pool", 64)
        return subprocess.run(
            vm(args, ["--mem", "1G", "--cpu", "max,vendor=GenuineIntel",
                      "--nvdimm", f"{directory}/pool"],
               [f"{GUEST}/features", "poolbad", "--seconds", str(args.seconds)]),
            check=False, stdin=subprocess.DEVNULL).returncode


def kill_qemu(proc):
    """Kill the QEMU of scripts/vm, to simulate a crash of the host."""
    with open(f"/proc/{proc.pid}/task/{proc.pid}/children", encoding="ascii") as f:
        for pid in f.read().split():
            with open(f"/proc/{pid}/comm", encoding="utf-8") as name:
                if name.read().startswith("qemu"):
                    os.kill(int(pid), signal.SIGKILL)
                    return
    raise Failure("there is no QEMU")


class Crashes:
    """A pool, and guests that use the pool one after another"""

    def __init__(self, args, directory, seed, options, ends):
        self.args, self.directory, self.seed = args, directory, seed
        self.options, self.ends = options, ends
        self.rnd = random.Random(seed)
        self.tools = build_tools()
        self.proc = None
        # pylint: disable=consider-using-with
        self.log = open(self.path("log"), "w+", encoding="utf-8")
        self.crashed = self.checked = self.leaked = self.entries = self.operations = 0
        self.recovery_us = []

    def path(self, name):
        return f"{self.directory}/{name}"

    def plan(self, ends):
        """Write the plan that guests read: a line for each session of the pool says how it
        ends."""
        with open(self.path("plan"), "w", encoding="utf-8") as f:
            for end in ends:
                f.write(f"{end} {self.rnd.uniform(0.05, 1.5):.2f} {self.seed} {THREADS}\n")

    def start(self):
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path("qmp"))
        # pylint: disable=consider-using-with
        self.proc = subprocess.Popen(
            vm(self.args, ["--smp", "4", "--qmp", self.path("qmp"),
                           "--qemu-arg=-action", "--qemu-arg=reboot=reset", *self.options],
               [f"{GUEST}/poolcrash", self.directory, self.tools], timeout=3600),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=self.log, text=True,
            errors="replace")

    def crash(self, end):
        """Crash the guest if that is the host's part."""
        if end == "kill":
            kill_qemu(self.proc)
        elif end == "reset":
            qmp = Qmp(self.path("qmp"))
            qmp.command("system_reset")
            qmp.socket.close()

    def read_rest(self, durable):
        """Read the rest of a killed guest's output, for operations that are done."""
        for text in self.proc.stdout:
            if text.startswith("durable "):
                durable.write(text)
        durable.flush()
        self.proc.wait()

    def boot(self, durable):
        """Read a guest's output until the session ends or the host has to crash the guest.
        Return the faults."""
        faults = []
        for text in self.proc.stdout:
            words = text.split()
            if words[:1] == ["durable"]:
                durable.write(text)
                durable.flush()
                self.operations += 1
            elif words[:1] == ["fault:"] or text.startswith("kvlog:"):
                faults.append(text.strip())
            elif words[:1] == ["leaked:"]:
                self.leaked += int(words[1])
            elif words[:1] == ["entries:"]:
                self.entries += int(words[1])
            elif words[:1] == ["recovery_us"]:
                self.recovery_us.append(int(words[1]))
            elif words[:1] == ["committed:"]:
                self.checked += int(words[1])
            elif words[:2] == ["poolcrash:", "now"]:
                return faults
            elif words[:2] == ["poolcrash:", "ended"]:
                return [*faults, text.strip()]
        return [*faults, f"the guest ended with status {self.proc.wait()}"]

    def run(self, rounds):
        ends = [self.ends[i % len(self.ends)] for i in range(rounds)] + ["stop"]
        self.plan(ends)
        self.start()
        with open(self.path("durable"), "a", encoding="utf-8") as durable:
            for number, end in enumerate(ends):
                timer = threading.Timer(BOOT_S, self.proc.terminate)
                timer.start()
                faults = self.boot(durable)
                timer.cancel()
                check(not faults, f"round {number}, before {end}: {'; '.join(faults)}")
                self.crashed += end != "stop"
                self.crash(end)
                if end == "kill":
                    self.read_rest(durable)
                    self.start()
            self.proc.wait()
            check(not self.proc.returncode, f"the last guest: status {self.proc.returncode}")
        us = sorted(self.recovery_us)
        return (f"{self.crashed} crashes, {self.operations} operations were done, "
                f"{self.entries} entries and {self.checked} frames checked, {self.leaked} "
                f"frames leaked before sweep, 0 after; attached in {us[len(us) // 2]} us "
                f"(median, {us[-1]} at most)")

    def last_words(self):
        """Return the last messages of scripts/vm."""
        self.log.seek(0)
        return "".join(self.log.readlines()[-60:])

    def stop(self):
        self.log.close()
        if self.proc and self.proc.poll() is None:
            self.proc.kill()
            self.proc.wait()


def crash_runs(args):
    """Crash guests args.rounds times: with an NVDIMM, with memmap= memory, and with
    nd_pool.lossy=1, which loses allocation bits that were not written back."""
    tests = Report(3, "poolcrash")
    seed = random.randrange(1 << 32)
    tests.say(f"seed {seed}")

    def crashes(name, options, ends, rounds):
        # In the checkout, which guests see
        os.makedirs(f"{BUILD}/vm", exist_ok=True)
        with tempfile.TemporaryDirectory(dir=f"{BUILD}/vm", prefix=f"pool-{name}-") as d:
            if name != "memmap":
                create(f"{d}/medium")
                options = [*options, "--nvdimm", f"{d}/medium"]
            state = Crashes(args, d, seed, options, ends)
            try:
                return state.run(rounds)
            except (Failure, OSError):
                tests.say(state.last_words())
                raise
            finally:
                state.stop()

    some = args.rounds * 3 // 10
    tests.test("nvdimm", lambda: crashes("nvdimm", ["--mem", "1G"], NVDIMM_ENDS, some))
    tests.test("memmap", lambda: crashes(
        "memmap", ["--mem", "2G", "--append", f"memmap={SIZE_MIB}M!1G"], MEMMAP_ENDS, some))
    tests.test("lossy", lambda: crashes(
        "lossy", ["--mem", "1G", "--append", "nd_pool.lossy=1"], NVDIMM_ENDS,
        args.rounds - 2 * some))
    return tests.end()
