# SPDX-License-Identifier: GPL-2.0
"""Build a kernel from build/linux.

TARGET names a configuration. x86_64 takes x86_64.config and llfree.config of
scripts/config on top of allnoconfig; x86_64-WHAT adds x86_64-WHAT.config. arm64
takes arm64.config and llfree.config; other machines need a cross compiler for arm64.
um builds User Mode Linux with the KUnit suites, for "scripts/kunit um". um-WHAT takes
um-WHAT.config and llfree.config. The result is in build/TARGET, the full output in
build/TARGET.log."""

import contextlib
import fcntl
import hashlib
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import time

from llfree import program
from llfree.paths import BUILD, CONFIGS, LINUX, SCRIPTS
from llfree.program import Error, make_env, read, say

# Configurations for which gcc lacks the instrumentation.
CLANG_ONLY = {"kmsan"}
PROGRESS_SECONDS = 15
STEP = re.compile(r"^  (?:CC|AS|AR|LD|HOSTCC|CC \[M\]) ")
FAILURE = re.compile(r"\berror\b|\bError \d|undefined reference|\*\*\*|"
                     r"No rule to make|objtool:.*(?:warning|error)", re.I)


def make_vars(target):
    """Return make's variables, with equal values on every machine and at every time.

    So ccache finds its objects, and make rebuilds nothing for another date, host name or
    state of the git tree."""
    arch, *parts = target.split("-")
    ccache = "ccache " if shutil.which("ccache") else ""
    cross, arch_vars = "", []
    if arch == "um":
        arch_vars = ["ARCH=um"]
    if arch == "arm64":
        if platform.machine() != "aarch64":
            cross = "aarch64-linux-gnu-"
        if not shutil.which(f"{cross}gcc"):
            raise Error(f"no {cross}gcc: install the package gcc-aarch64-linux-gnu")
        arch_vars = ["ARCH=arm64", f"CROSS_COMPILE={cross}"]
    compiler = "clang" if CLANG_ONLY.intersection(parts) else f"{cross}gcc"
    return [*arch_vars, f"CC={ccache}{compiler}", f"HOSTCC={ccache}gcc",
            "LOCALVERSION=",
            "KBUILD_BUILD_TIMESTAMP=1970-01-01",
            "KBUILD_BUILD_USER=llfree", "KBUILD_BUILD_HOST=localhost"]


class Kernel:
    """A kernel and its output directory"""

    def __init__(self, target, source, out, fragments, jobs, variables=None):
        self.target = target
        self.source = source
        self.out = out
        self.fragments = fragments
        self.log = f"{out}.log"
        self.make = ["make", "-C", source, f"O={out}", f"-j{jobs}"]
        self.make += variables or make_vars(target)

    @contextlib.contextmanager
    def alone(self):
        """Hold the output directory's lock: two makes in one directory break each other."""
        os.makedirs(self.out, exist_ok=True)
        with open(f"{self.out}/.lock", "w", encoding="utf-8") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                say(f"{self.target}: waiting for another build of this target")
                fcntl.flock(lock, fcntl.LOCK_EX)
            open(self.log, "w", encoding="utf-8").close()
            yield

    def run(self, what, argv, cwd=None, **env):
        with open(self.log, "a", encoding="utf-8") as log:
            log.write(f"$ {shlex.join(argv)}\n")
            log.flush()
            proc = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=log,
                                  stderr=subprocess.STDOUT, check=False,
                                  cwd=cwd, env={**make_env(), **env})
        if proc.returncode:
            self.fail(what)

    def fail(self, what):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            lines = f.read().splitlines()
        errors = [i for i, t in enumerate(lines) if FAILURE.search(t)]
        shown = sorted({j for i in errors[:8] for j in range(i - 1, i + 4)
                        if 0 <= j < len(lines)})
        for i in shown or range(max(0, len(lines) - 20), len(lines)):
            print(lines[i], file=sys.stderr)
        raise Error(f"{self.target}: {what} failed, full log: {self.log}")

    def config_key(self):
        """Return a hash that changes when a fragment or a Kconfig file changes."""
        h = hashlib.sha256()
        for name in self.fragments:
            with open(name, "rb") as f:
                h.update(f.read())
        try:
            with open(f"{self.out}/include/config/auto.conf.cmd",
                      encoding="utf-8") as f:
                names = re.findall(r"^\t(\S+?)(?: \\)?$", f.read(), re.M)
        except FileNotFoundError:
            return None
        for name in names:
            try:
                when = os.stat(os.path.join(self.source, name)).st_mtime_ns
            except FileNotFoundError:
                when = 0
            h.update(f"{name} {when}\n".encode())
        return h.hexdigest()

    def configure(self):
        stamp = f"{self.out}/.config.key"
        config = f"{self.out}/.config"
        if os.path.exists(stamp) and os.path.exists(config):
            with open(stamp, encoding="utf-8") as f:
                if f.read() == self.config_key():
                    return
        os.makedirs(self.out, exist_ok=True)
        merged = f"{self.out}/.config.merged"
        self.run("merging the configuration",
                 [f"{self.source}/scripts/kconfig/merge_config.sh", "-m",
                  "-Q", *self.fragments], cwd=self.out,
                 KCONFIG_CONFIG=merged)
        # make must see a new .config only if its content has changed.
        new = f"{self.out}/.config.new"
        self.run("configuring",
                 [*self.make, f"KCONFIG_ALLCONFIG={merged}",
                  f"KCONFIG_CONFIG={new}", "allnoconfig"])
        self.check(merged, new)
        if read(new) != read(config):
            os.replace(new, config)
        self.run("configuring", [*self.make, "syncconfig"])
        if not os.path.exists(f"{self.out}/include/config/auto.conf.cmd"):
            self.fail("configuring")
        with open(stamp, "w", encoding="utf-8") as f:
            f.write(self.config_key())

    def check(self, wanted_file, got_file):
        got = read_config(got_file)
        bad = [f"  {name}: wanted {want}, is {got.get(name, 'n')}"
               for name, want in read_config(wanted_file).items()
               if got.get(name, "n") != want]
        if bad:
            print("\n".join(bad), file=sys.stderr)
            raise Error(f"{self.target}: the kernel's Kconfig did not take the "
                "options above (renamed, or a dependency is missing)")

    def build(self, goals, **env):
        start = time.monotonic()
        with open(self.log, "a", encoding="utf-8") as log:
            offset = log.tell()
            proc = subprocess.Popen([*self.make, *goals],
                                    stdin=subprocess.DEVNULL, stdout=log,
                                    stderr=subprocess.STDOUT,
                                    env={**make_env(), **env})
        objects = 0
        shown = start
        try:
            while True:
                try:
                    proc.wait(timeout=1)
                except subprocess.TimeoutExpired:
                    pass
                with open(self.log, encoding="utf-8",
                          errors="replace") as log:
                    log.seek(offset)
                    objects += sum(bool(STEP.match(t)) for t in log)
                    offset = log.tell()
                now = time.monotonic()
                if proc.returncode is not None:
                    break
                if now - shown >= PROGRESS_SECONDS:
                    shown = now
                    say(f"{self.target}: {objects} objects built, {now - start:.0f} s")
        except BaseException:
            proc.terminate()
            proc.wait()
            raise
        if proc.returncode:
            self.fail("build")
        say(f"{self.target}: {objects} objects built in {now - start:.0f} s")

    def warnings(self):
        with open(self.log, encoding="utf-8", errors="replace") as f:
            return [t.rstrip() for t in f
                    if re.search(r": warning:|\bWARNING: modpost\b", t)]


def read_config(name):
    values = {}
    with open(name, encoding="utf-8") as f:
        for line in f:
            m = re.match(r"(CONFIG_\w+)=(.*)$|# (CONFIG_\w+) is not set", line)
            if m:
                values[m[1] or m[3]] = m[2] if m[1] else "n"
    return values


def fragments_of(target, llfree):
    parts = target.split("-")
    # The targets of User Mode Linux have no configuration in common.
    names = [f"{CONFIGS}/{parts[0]}.config"] if parts[0] != "um" else []
    if llfree:
        names.append(f"{CONFIGS}/llfree.config")
    names += [f"{CONFIGS}/{parts[0]}-{part}.config" for part in parts[1:]]
    for name in names:
        if not os.path.exists(name):
            raise Error(f"no configuration {name} for target {target}")
    return names


def main():
    p = program.parser(__doc__)
    p.add_argument("--source", metavar="DIR", default=LINUX)
    p.add_argument("--out", metavar="DIR",
                   help="build there (default: build/TARGET)")
    p.add_argument("--fragment", metavar="FILE", action="append", default=[],
                   help="one more configuration fragment")
    p.add_argument("--without-llfree", action="store_true",
                   help="leave out llfree.config")
    p.add_argument("--config-only", action="store_true",
                   help="configure and stop")
    p.add_argument("--jobs", "-j", metavar="N", type=int,
                   default=os.cpu_count())
    p.add_argument("target", metavar="TARGET")
    p.add_argument("goal", metavar="GOAL", nargs="*",
                   help="make goals (default: all)")
    args = p.parse_args()
    if args.target == "um":
        os.execv(f"{SCRIPTS}/kunit", ["kunit", "--build-only", "um"])
    if not os.path.isdir(f"{args.source}/kernel"):
        raise Error(f"no kernel source in {args.source}: run scripts/prepare")
    program.exit_on_term()
    out = os.path.abspath(args.out or f"{BUILD}/{args.target}")
    fragments = fragments_of(args.target, not args.without_llfree)
    fragments += [os.path.abspath(f) for f in args.fragment]
    kernel = Kernel(args.target, os.path.abspath(args.source), out, fragments,
                    args.jobs)
    with kernel.alone():
        kernel.configure()
        if args.config_only:
            return
        kernel.build(args.goal or ["all"])
    for text in kernel.warnings()[:20]:
        say(text)
