# SPDX-License-Identifier: GPL-2.0
"""Run a guest: its process, its output, its end"""


import ctypes
import os
import re
import selectors
import shlex
import signal
import socket
import subprocess
import sys
import termios
import time

from llfree.program import Error
from llfree.vm import machine, qemu
from llfree.vm.arguments import EXIT_GUEST, EXIT_KERNEL, EXIT_TIMEOUT
from llfree.vm.console import KernelLog, own_functions

# QEMU 7.2 fails an assertion at boot, in msix_table_mmio_write(), in about one of
# 150 guests. A signal that ends QEMU from outside is no crash.
CRASHES = (signal.SIGABRT, signal.SIGBUS, signal.SIGFPE, signal.SIGILL,
           signal.SIGSEGV)
ASSERTION = "Assertion `"
QEMU_LINES = 20

REPORT_LINES = 70
SHOWN_RACES = 12


def say(text):
    print(text, file=sys.stderr)


def die_with_parent():
    ctypes.CDLL(None).prctl(1, signal.SIGKILL)  # PR_SET_PDEATHSIG


class Guest:
    def __init__(self, args, rundir):
        self.args = args
        self.rundir = rundir
        self.interactive = not args.command
        self.fds = []
        self.selector = selectors.DefaultSelector()
        self.limit = args.timeout
        if self.limit is None:
            self.limit = float("inf") if self.interactive or args.gdb else 900
        self.started = False    # whether the command has started
        self.status = None
        self.status_data = b""
        log = args.log or os.path.join(rundir, "kernel.log")
        self.arch, self.image = machine.find_kernel(args.kernel)
        # KVM cannot count instructions.
        self.kvm = self.arch == machine.HOST and not args.icount and machine.kvm_usable()
        self.klog = KernelLog(log, args.expect, args.verbose,
                              own_functions(args.kernel))
        self.timed_out = False
        self.proc = None
        self.serial = None
        self.monitor = None
        self.stopped = None     # time since which the guest is stopped
        self.stood = 0.0        # seconds of earlier stops

    def channel(self, name, handler):
        ours, theirs = socket.socketpair()
        self.fds.append(theirs)
        if handler:
            self.selector.register(ours, selectors.EVENT_READ, handler)
        return ours, ["-chardev", f"socket,id={name},fd={theirs.fileno()}"]

    def close(self):
        for end in [k.fileobj for k in self.selector.get_map().values()]:
            end.close()
        self.selector.close()
        for end in self.fds:
            end.close()
        self.klog.file.close()

    def write_command(self):
        env = {"HOME": "/root", "USER": "root", "LOGNAME": "root",
               "SHELL": "/bin/bash", "LANG": "C.UTF-8",
               "TERM": os.environ.get("TERM", "dumb")}
        if self.args.alloc:
            env["ALLOC"] = self.args.alloc
        env.update(e.split("=", 1) for e in self.args.env)
        out = [f"export {k}={shlex.quote(v)}\n" for k, v in env.items()]
        options = qemu.mount_options(self.args, "mmap")
        for number, path in enumerate(map(shlex.quote, self.args.rwdir)):
            out.append(f"mkdir -p {path} && mount -t 9p -o {options} rwdir{number} {path} || "
                       "exit 127\n")
        out.append(f"cd {shlex.quote(self.args.cwd)} || exit 127\n")
        if self.interactive:
            if sys.stdin.isatty():
                cols, rows = os.get_terminal_size(sys.stdin.fileno())
                out.append(f"stty rows {rows} cols {cols}\n")
            out.append("exec /bin/bash -i\n")
        elif len(self.args.command) == 1:
            out.append(f"exec /bin/sh -c {shlex.quote(self.args.command[0])}\n")
        else:
            out.append(f"exec {shlex.join(self.args.command)}\n")
        with open(f"{self.rundir}/command", "w", encoding="utf-8") as f:
            f.writelines(out)

    def qemu(self):
        """Make QEMU's sockets and return QEMU's command line."""
        argv = [*qemu.machine_options(self.args, self.arch, self.kvm),
                "-kernel", self.image, "-append",
                qemu.kernel_parameters(self.args, self.arch, self.kvm, self.rundir),
                *qemu.roots(self.arch), "-device", "virtio-serial-pci"]
        self.serial, chardev = self.channel("klog", self.klog.feed)
        argv += chardev + ["-serial", "chardev:klog"]
        self.monitor, chardev = self.channel("mon", lambda data: None)
        argv += chardev + ["-mon", "chardev=mon,mode=readline"]
        _, chardev = self.channel("status", self.feed_status)
        argv += chardev
        argv += ["-device", "virtserialport,chardev=status,name=vm.status"]
        if self.interactive:
            argv += ["-chardev", "stdio,id=term,mux=on,signal=off",
                     "-device", "virtconsole,chardev=term,name=vm.console",
                     "-mon", "chardev=term,mode=readline"]
        else:
            _, chardev = self.channel("out", self.feed_output)
            argv += chardev
            argv += ["-device", "virtserialport,chardev=out,name=vm.out"]
        return argv + self.args.qemu_arg

    def feed_output(self, data):
        sys.stdout.buffer.write(data)
        sys.stdout.buffer.flush()

    def feed_status(self, data):
        self.status_data += data
        self.started = b"start\n" in self.status_data
        m = re.search(rb"exit (\d+)\n", self.status_data)
        if m:
            self.status = int(m[1])

    def poll(self, timeout):
        """Handle data from the guest. Return False when none has arrived."""
        events = self.selector.select(timeout)
        for key, _ in events:
            try:
                data = key.fileobj.recv(65536)
            except ConnectionResetError:
                data = b""
            if data:
                key.data(data)
            else:
                self.selector.unregister(key.fileobj)
                key.fileobj.close()
        return bool(events)

    def stop(self):
        if self.stopped is None:
            self.stopped = time.monotonic()
            self.monitor.sendall(b"stop\n")

    def go_on(self):
        if self.stopped is not None:
            self.stood += time.monotonic() - self.stopped
            self.stopped = None
            self.monitor.sendall(b"cont\n")

    def time(self):
        """Return the time of a clock that stops while the guest is stopped."""
        return (self.stopped or time.monotonic()) - self.stood

    def wait(self, deadline):
        """Serve the guest until QEMU ends or self.time() passes the deadline. Return whether
        QEMU has ended."""
        while True:
            self.poll(0.5)
            if self.proc.poll() is not None:
                return True
            if self.status is not None:
                # The guest powers off now, which takes a short time.
                deadline = min(deadline, self.time() + 60)
            if self.time() > deadline:
                return False
            if not self.selector.get_map():
                time.sleep(0.1)

    def ask_what_hangs(self):
        """Send SysRq keys over the serial line: blocked tasks, CPUs, memory."""
        for key in b"wlm":
            try:
                self.monitor.sendall(b"chardev-send-break klog\n")
                time.sleep(0.3)
                self.serial.sendall(bytes([key]))
            except OSError:
                return
            self.wait(self.time() + 2)

    def run(self):
        self.write_command()
        argv = self.qemu()
        if self.args.verbose:
            print(shlex.join(argv), file=sys.stderr)
        if self.args.gdb:
            say(f"vm: waiting for: gdb {self.symbols()} -ex 'target remote :{self.args.gdb}'")
        tty = None
        if self.interactive and sys.stdin.isatty():
            tty = termios.tcgetattr(sys.stdin)
        stdin = None if self.interactive else subprocess.DEVNULL
        with open(f"{self.rundir}/qemu.log", "wb") as err:
            try:
                # pylint: disable-next=subprocess-popen-preexec-fn
                self.proc = subprocess.Popen(
                    argv, stdin=stdin, stderr=err,
                    pass_fds=[s.fileno() for s in self.fds],
                    preexec_fn=die_with_parent)
            except FileNotFoundError:
                raise Error(f"{argv[0]} is not installed") from None
        for s in self.fds:
            s.close()
        signal.signal(signal.SIGUSR1, lambda *_: self.stop())
        signal.signal(signal.SIGUSR2, lambda *_: self.go_on())
        try:
            if not self.wait(self.time() + self.limit):
                self.timed_out = True
                seen = len(self.klog.trouble)
                self.ask_what_hangs()
                del self.klog.trouble[seen:]
        finally:
            if self.proc.poll() is None:
                self.proc.kill()
            self.proc.wait()
            while self.selector.get_map() and self.poll(0.2):
                pass
            if tty:
                termios.tcsetattr(sys.stdin, termios.TCSADRAIN, tty)
        self.klog.finish()

    def symbols(self):
        """Return the kernel's file for gdb."""
        vmlinux = os.path.join(self.args.kernel, "vmlinux")
        return shlex.quote(vmlinux) if os.path.exists(vmlinux) else "VMLINUX"

    def qemu_log(self):
        with open(f"{self.rundir}/qemu.log", encoding="utf-8",
                  errors="replace") as f:
            return f.read()

    def crash(self):
        """Return how QEMU itself crashed, or None."""
        status = self.proc.returncode
        if -status in CRASHES:
            return signal.Signals(-status).name
        if status > 0 and ASSERTION in self.qemu_log():
            return f"failed assertion, exit status {status}"
        return None

    def boot_again(self):
        """Return whether QEMU crashed before the command ran and the kernel log is clean. Then
        print a message, too."""
        crash = self.crash()
        if not crash or self.started or self.klog.trouble:
            return False
        say(f"vm: QEMU crashed while the guest booted ({crash}); "
            "booting once more")
        self.say_qemu_log()
        return True

    def say_qemu_log(self):
        for text in self.qemu_log().splitlines()[-QEMU_LINES:]:
            say("  qemu: " + text)

    def verdict(self):
        sys.stdout.flush()
        log = self.klog
        if log.races:
            say(f"vm: {log.races.total()} KCSAN reports about other code, "
                f"{len(log.races)} different:")
            for title, count in log.races.most_common(SHOWN_RACES):
                say(f"  {count:4} {title}")
        if log.trouble:
            first, hit = log.trouble[0]
            say("vm: the kernel reported a problem:")
            for text in log.lines[first:first + REPORT_LINES]:
                say("  " + text)
            for _, hit in log.trouble[1:6]:
                say("vm: later: " + log.lines[hit])
            if len(log.trouble) > 6:
                say(f"vm: and {len(log.trouble) - 6} more")
            return EXIT_KERNEL
        if self.timed_out and self.status is None:
            say(f"vm: timeout after {self.limit:g} s; the end of the log:")
            for text in log.lines[-REPORT_LINES:]:
                say("  " + text)
            return EXIT_TIMEOUT
        if self.status is None or self.timed_out:
            crash = self.crash()
            say("vm: the guest did not power off" if self.timed_out else
                f"vm: QEMU crashed ({crash})" if crash else
                "vm: the guest ended without an exit status")
            self.say_qemu_log()
            for text in log.lines[-30:]:
                say("  " + text)
            return EXIT_GUEST
        return self.status
