# SPDX-License-Identifier: GPL-2.0
"""Test scripts/vm with a fake QEMU, without booting a guest."""

import contextlib
import io
import os
import shlex
import signal
import sys
import tempfile
import unittest
from unittest import mock

from llfree.vm import guest as vm_guest
from llfree.vm import machine, main
from llfree.vm.arguments import EXIT_GUEST, EXIT_KERNEL

# Each start takes the next line of the file plan and carries out the line's words. The
# last line is for all further starts. A "~" stands for a space.
FAKE_QEMU = f"""#!{sys.executable} -IS
import os, re, signal, sys

here = os.path.dirname(os.path.abspath(__file__))
fds = dict(re.findall(r"socket,id=(\\w+),fd=(\\d+)", " ".join(sys.argv)))
with open(here + "/starts", "a+") as f:
    f.write("start\\n")
    f.seek(0)
    number = len(f.readlines())
with open(here + "/plan") as f:
    plan = f.read().splitlines()
for word in plan[min(number, len(plan)) - 1].split():
    what, _, value = word.replace("~", " ").partition(":")
    if what == "stderr":
        print(value, file=sys.stderr, flush=True)
    elif what == "signal":
        os.kill(os.getpid(), getattr(signal, value))
    elif what == "exit":
        sys.exit(int(value))
    else:
        os.write(int(fds[what]), value.encode() + b"\\n")
"""
ASSERTION = "stderr:msix_table_mmio_write:~Assertion~`addr~<~size'~failed."
CRASH = f"{ASSERTION} signal:SIGABRT"
GOOD = "klog:Linux~version status:start out:hello status:exit~3 exit:0"


class FakeQemu(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.tmp = tmp.name
        self.kernel = f"{self.tmp}/image"
        with open(self.kernel, "wb") as f:
            f.write(bytes(64))
        path = f"{self.tmp}/{machine.MACHINES['x86_64'].qemu}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(FAKE_QEMU)
        os.chmod(path, 0o755)
        for patch in (
                mock.patch.object(main, "BUILD", f"{self.tmp}/build"),
                mock.patch.object(machine, "HOST", "x86_64"),
                mock.patch.dict(os.environ, PATH=f"{self.tmp}:"
                                f"{os.environ['PATH']}")):
            patch.start()
            self.addCleanup(patch.stop)
        for signum in (signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2):
            self.addCleanup(signal.signal, signum, signal.getsignal(signum))

    def run_vm(self, *plan, options=()):
        """Run scripts/vm with a plan for the fake QEMU.

        Return (exit status, stdout, stderr)."""
        with open(f"{self.tmp}/plan", "w", encoding="utf-8") as f:
            f.write("\n".join(plan))
        with contextlib.suppress(FileNotFoundError):
            os.unlink(f"{self.tmp}/starts")
        out = io.TextIOWrapper(io.BytesIO())
        with mock.patch.object(sys, "argv", ["vm", "--kernel", self.kernel,
                                             *options, "--", "true"]), \
             contextlib.redirect_stdout(out), \
             contextlib.redirect_stderr(io.StringIO()) as err:
            status = main.main()
        out.seek(0)
        return status, out.read(), err.getvalue()

    def starts(self):
        with open(f"{self.tmp}/starts", encoding="utf-8") as f:
            return len(f.readlines())


class Crashes(FakeQemu):
    AGAIN = "booting once more"

    def test_no_crash(self):
        self.assertEqual(self.run_vm(GOOD), (3, "hello\n", ""))
        self.assertEqual(self.starts(), 1)

    def test_first_boot(self):
        """If QEMU crashes once, output and status are those of the command in the second
        boot."""
        status, out, err = self.run_vm(CRASH, GOOD)
        self.assertEqual((status, out, self.starts()), (3, "hello\n", 2))
        self.assertIn(f"QEMU crashed while the guest booted (SIGABRT); {self.AGAIN}",
                      err)
        self.assertIn("qemu: msix_table_mmio_write: Assertion", err)

    def test_every_boot(self):
        status, out, err = self.run_vm(CRASH)
        self.assertEqual((status, out, self.starts()), (EXIT_GUEST, "", 2))
        self.assertEqual(err.count(self.AGAIN), 1)
        self.assertIn("vm: QEMU crashed (SIGABRT)", err)
        self.assertEqual(err.count("Assertion"), 2)

    def test_crash_then_trouble(self):
        """A problem in the second boot counts as in any boot."""
        status, _, err = self.run_vm(
            CRASH, "klog:Kernel~panic~-~not~syncing exit:0")
        self.assertEqual((status, self.starts()), (EXIT_KERNEL, 2))
        self.assertIn("Kernel panic", err)

    def test_kinds(self):
        for plan in ("signal:SIGSEGV", "signal:SIGBUS", f"{ASSERTION} exit:134"):
            with self.subTest(plan=plan):
                self.assertEqual(self.run_vm(plan, GOOD)[0], 3)
                self.assertEqual(self.starts(), 2)

    def test_no_crash_of_qemu(self):
        """Signals from outside, errors and a guest's own end are not repeated."""
        for plan in ("signal:SIGKILL", "signal:SIGTERM", "stderr:bad~option exit:1",
                     "exit:0", f"{ASSERTION} exit:0"):
            with self.subTest(plan=plan):
                status, _, err = self.run_vm(plan, GOOD)
                self.assertEqual((status, self.starts()), (EXIT_GUEST, 1))
                self.assertNotIn(self.AGAIN, err)

    def test_after_start(self):
        """A command that ran, in part at least, does not run twice."""
        status, out, err = self.run_vm(f"status:start out:once {CRASH}", GOOD)
        self.assertEqual((status, out, self.starts()),
                         (EXIT_GUEST, "once\n", 1))
        self.assertIn("vm: QEMU crashed (SIGABRT)", err)

    def test_after_trouble(self):
        """After a report of the kernel there is no second boot, so the report stays."""
        status, _, err = self.run_vm(
            f"klog:BUG:~Bad~page~state~in~process~x {CRASH}", GOOD)
        self.assertEqual((status, self.starts()), (EXIT_KERNEL, 1))
        self.assertIn("Bad page state", err)

    def test_log(self):
        """The kernel log is that of the boot that counts."""
        log = f"{self.tmp}/log"
        self.run_vm(f"klog:first {CRASH}", GOOD, options=("--log", log))
        with open(log, encoding="utf-8") as f:
            self.assertEqual(f.read(), "Linux version\n")


class CommandLine(FakeQemu):
    def qemu(self, *options):
        """Return QEMU's command line, as --dry-run prints it."""
        status, out, err = self.run_vm(GOOD, options=("--dry-run", *options))
        self.assertEqual((status, err), (0, ""))
        self.assertFalse(os.path.exists(f"{self.tmp}/starts"))
        return shlex.split(out)

    def values(self, option, *options):
        argv = self.qemu(*options)
        return [b for a, b in zip(argv, argv[1:]) if a == option]

    def refused(self, *options):
        with mock.patch.object(sys, "argv", ["vm", *options]), \
             contextlib.redirect_stderr(io.StringIO()) as err, \
             self.assertRaises(SystemExit) as raised:
            main.main()
        self.assertEqual(raised.exception.code, 2)
        return err.getvalue()

    def test_dry_run(self):
        """--dry-run leaves no directory, and does not change a log."""
        log = f"{self.tmp}/log"
        with open(log, "w", encoding="utf-8") as f:
            f.write("old\n")
        argv = self.qemu("--log", log, "--mem", "64M")
        self.assertEqual(argv[0], machine.MACHINES["x86_64"].qemu)
        self.assertEqual(argv[argv.index("-m") + 1], "64M")
        with open(log, encoding="utf-8") as f:
            self.assertEqual(f.read(), "old\n")
        self.assertEqual(os.listdir(f"{self.tmp}/build/vm"), [])

    def test_prealloc_and_icount(self):
        self.assertIn("-mem-prealloc", self.qemu("--prealloc"))
        self.assertNotIn("-mem-prealloc", self.qemu())
        counted = self.qemu("--icount")
        self.assertEqual(counted[counted.index("-icount") + 1],
                         "shift=0,sleep=off")
        self.assertIn("tcg,thread=single", counted)

    def test_memory(self):
        self.assertEqual(self.values("-object"), [])
        self.assertEqual(self.values("-object", "--mem", "511M", "--numa", "2"),
                         ["memory-backend-ram,id=mem0,size=254M",
                          "memory-backend-ram,id=mem1,size=257M"])
        self.assertEqual(self.values("-numa", "--smp", "3", "--numa", "2"),
                         ["node,nodeid=0,memdev=mem0,cpus=0-0",
                          "node,nodeid=1,memdev=mem1,cpus=1-2"])

    def test_memfd(self):
        one = ["memory-backend-memfd,id=mem0,size=512M"]
        self.assertEqual(self.values("-object", "--mem", "512M", "--memfd"), one)
        self.assertIn("memory-backend=mem0", self.values("-machine", "--memfd"))
        self.assertEqual(self.values("-numa", "--memfd"), [])
        two = self.qemu("--mem", "1G", "--memfd", "--numa", "2")
        self.assertIn("memory-backend-memfd,id=mem1,size=512M", two)
        self.assertNotIn("memory-backend=mem0", two)

    def test_balloon(self):
        """A balloon takes memory from a memfd, whose use the host can see."""
        argv = self.qemu("--balloon")
        self.assertIn("virtio-balloon-pci,id=balloon,free-page-reporting=on,"
                      "deflate-on-oom=on", argv)
        self.assertIn("memory-backend-memfd,id=mem0,size=1024M", argv)
        self.assertNotIn("balloon", " ".join(self.qemu("--memfd")))

    def test_disks(self):
        disks = [f"{self.tmp}/swap", f"{self.tmp}/a,b"]
        for disk in disks:
            with open(disk, "wb"):
                pass
        argv = self.qemu("--disk", disks[0], "--disk", disks[1])
        drives = [b for a, b in zip(argv, argv[1:]) if a == "-drive"]
        self.assertEqual(drives, [
            f"file={self.tmp}/swap,format=raw,if=none,id=disk0",
            f"file={self.tmp}/a,,b,format=raw,if=none,id=disk1"])
        self.assertLess(argv.index("virtio-blk-pci,drive=disk0"),
                        argv.index("virtio-blk-pci,drive=disk1"))
        self.assertIn("no file /nowhere/disk", self.refused("--disk",
                                                            "/nowhere/disk"))

    def test_memory_that_grows(self):
        self.assertEqual(self.values("-m", "--mem", "1G"), ["1024M"])
        self.assertEqual(self.values("-m", "--mem", "1G", "--maxmem", "16G"),
                         ["1024M,slots=8,maxmem=16384M"])
        self.assertEqual(self.values("-m", "--mem", "1G", "--maxmem", "2G",
                                     "--slots", "3"),
                         ["1024M,slots=3,maxmem=2048M"])
        self.assertIn("no more than --mem",
                      self.refused("--mem", "1G", "--maxmem", "1G"))
        self.assertIn("no --maxmem", self.refused("--slots", "3"))

    def test_rwdir(self):
        """A directory is writable; the root is not."""
        where = f"{self.tmp}/a,b"
        os.mkdir(where)
        ours, root = self.values("-virtfs", "--rwdir", where)
        self.assertIn("readonly=on", root)
        self.assertEqual(ours, f"local,path={self.tmp}/a,,b,mount_tag=rwdir0,"
                         "security_model=none,multidevs=remap")
        self.assertIn("no directory", self.refused("--rwdir", "/nowhere"))

    def test_rwdir_is_mounted(self):
        """The guest mounts a directory at the host's path, before the command starts."""
        where = f"{self.tmp}/our dir"
        os.mkdir(where)
        plan = "klog:x status:start exit:0"     # a failure, which keeps the directory
        self.run_vm(plan, options=("--rwdir", where))
        (run,) = os.listdir(f"{self.tmp}/build/vm")
        with open(f"{self.tmp}/build/vm/{run}/command", encoding="utf-8") as f:
            lines = f.read().splitlines()
        (mount,) = [line for line in lines if "mount -t 9p" in line]
        self.assertIn(f"rwdir0 '{where}' ", mount)
        self.assertLess(lines.index(mount), lines.index("exec /bin/sh -c true"))

    def test_network(self):
        self.assertEqual(self.values("-nic", "--network"), ["user,model=virtio-net-pci"])
        self.assertEqual(self.values("-nic"), [])

    def test_network_without_driver(self):
        """scripts/vm refuses a network if the kernel's configuration lacks the driver."""
        kernel = f"{self.tmp}/kernel"
        os.mkdir(kernel)
        with open(f"{kernel}/.config", "w", encoding="utf-8") as f:
            f.write("CONFIG_NET=y\n# CONFIG_VIRTIO_NET is not set\n")
        self.assertIn("no CONFIG_VIRTIO_NET", self.refused("--kernel", kernel, "--network"))

    def test_gdb(self):
        """The CPUs wait, and the kernel stays at the addresses of its symbols."""
        for options, port in (("--gdb",), 1234), (("--gdb", "99"), 99):
            argv = self.qemu(*options)
            self.assertEqual(argv[argv.index("-gdb") + 1], f"tcp:127.0.0.1:{port}")
            self.assertIn("-S", argv)
            self.assertIn("nokaslr", argv[argv.index("-append") + 1].split())
        argv = self.qemu()
        self.assertNotIn("-S", argv)
        self.assertNotIn("nokaslr", argv[argv.index("-append") + 1])

    def test_gdb_says_how(self):
        _, _, err = self.run_vm(GOOD, options=("--gdb",))
        self.assertIn("gdb VMLINUX -ex 'target remote :1234'", err)

    def test_qmp(self):
        self.assertEqual(self.values("-qmp", "--qmp", "build/qmp"),
                         ["unix:build/qmp,server=on,wait=off"])
        self.assertEqual(self.values("-qmp"), [])


class Clock(unittest.TestCase):
    def test_stands_still(self):
        """The guest's clock does not count time in which the guest is stopped."""
        guest = vm_guest.Guest.__new__(vm_guest.Guest)
        guest.stopped, guest.stood = None, 0.0
        guest.monitor = mock.Mock()
        times = []
        with mock.patch.object(vm_guest.time, "monotonic") as clock:
            for now, what in ((10, guest.stop), (15, guest.stop),
                              (40, guest.go_on), (41, guest.go_on),
                              (50, guest.stop), (60, guest.go_on)):
                clock.return_value = now
                what()
                times.append(guest.time())
        self.assertEqual(times, [10, 10, 10, 11, 20, 20])
        self.assertEqual([c.args[0] for c in guest.monitor.sendall.mock_calls],
                         [b"stop\n", b"cont\n"] * 2)
