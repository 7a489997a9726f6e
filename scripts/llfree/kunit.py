# SPDX-License-Identifier: GPL-2.0
"""Run the KUnit suites with the kernel's own kunit.py.

ARCH is x86_64 (in QEMU) or um (User Mode Linux); the default is both. Suites and
options are in lib/llfree/.kunitconfig and in scripts/config/kunit-ARCH.config.

With --kernel, boots a kernel that scripts/build has made in scripts/vm. The kernel
runs its built-in suites while it boots. The run fails, too, if scripts/vm finds a
problem in the kernel log."""

import os
import shutil
import subprocess
import sys

from llfree import program, vm
from llfree.paths import BUILD, CONFIGS, TOP
from llfree.program import Error

BUILD_DIRS = {"x86_64": "kunit-x86_64", "um": "um"}
KUNIT = [sys.executable, "tools/testing/kunit/kunit.py"]
SUITES = "llfree*"
# Seconds after boot, x86 prints that the TSC is usable. kunit.py cannot parse such a line
# between the first lines of a group of cases.
QUIET = "tsc=unstable"
# One case frees a frame that is not allocated.
EXPECTED = "zone fake: free of pfn .* which is not allocated"


def boot(args):
    """Boot an existing kernel, which runs its suites. Return 0 if all pass."""
    build = os.path.abspath(args.build or BUILD)
    log = f"{build}/vm/kunit-{os.path.basename(os.path.abspath(args.kernel))}.log"
    os.makedirs(os.path.dirname(log), exist_ok=True)
    globs = args.filter or [SUITES]
    if len(globs) > 1:
        raise Error("--kernel takes one --filter")
    cpu = [f"--cpu={args.cpu}"] if args.cpu else []
    status = subprocess.run(vm.command(
        args.kernel, ["true"], f"--smp={args.smp}", f"--log={log}", f"--expect={EXPECTED}",
        *cpu, "--append=kunit.enable=1", f"--append=kunit.filter_glob={globs[0]}",
        f"--append={QUIET}", alloc="llfree", timeout=args.timeout), check=False).returncode
    status |= subprocess.run([*KUNIT, "parse", log], check=False,
                             cwd=args.source or f"{build}/linux",
                             env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
                             ).returncode
    print(f"(kernel log: {log})")
    return status


def kunit(arch, args):
    build = os.path.abspath(args.build or BUILD)
    out = f"{build}/{BUILD_DIRS[arch]}"
    argv = [*KUNIT, "build" if args.build_only else "run", f"--arch={arch}",
            f"--build_dir={out}", f"--jobs={os.cpu_count()}"]
    configs = args.kunitconfig or [f"{TOP}/lib/llfree/.kunitconfig"]
    own = f"{CONFIGS}/kunit-{arch}.config"
    if os.path.exists(own):
        configs = configs + [own]
    argv += [f"--kunitconfig={os.path.abspath(c)}" for c in configs]
    if shutil.which("ccache"):
        argv += ["--make_options=CC=ccache gcc",
                 "--make_options=HOSTCC=ccache gcc"]
    if not args.build_only:
        argv.append(f"--timeout={args.timeout}")
        if arch == "x86_64":
            argv += ["--qemu_args=-accel tcg,thread=multi -cpu max "
                     f"-smp {args.smp}", f"--kernel_args={QUIET}"]
        argv += args.filter
    env = program.make_env()
    env.update(LOCALVERSION="",
               KBUILD_BUILD_TIMESTAMP="1970-01-01",
               KBUILD_BUILD_USER="llfree", KBUILD_BUILD_HOST="localhost",
               PYTHONDONTWRITEBYTECODE="1")
    env.setdefault("HOME", "/root")
    # The first stage of UML does not survive glibc's rseq registration.
    env.setdefault("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
    os.makedirs(build, exist_ok=True)
    return subprocess.run(argv, cwd=args.source or f"{build}/linux", env=env,
                          stdin=subprocess.DEVNULL, check=False).returncode


def main():
    p = program.parser(__doc__)
    p.add_argument("--build", metavar="DIR", help="instead of build/")
    p.add_argument("--source", metavar="DIR", help="instead of build/linux")
    p.add_argument("--build-only", action="store_true")
    p.add_argument("--kernel", metavar="DIR",
                   help="boot this kernel instead, as it is")
    p.add_argument("--cpu", metavar="MODEL",
                   help="QEMU's model of the CPU, with --kernel")
    p.add_argument("--kunitconfig", metavar="FILE", action="append",
                   help="instead of lib/llfree/.kunitconfig")
    p.add_argument("--smp", metavar="N", type=int, default=4,
                   help="CPUs in QEMU (default: 4)")
    p.add_argument("--timeout", metavar="S", type=int, default=600)
    p.add_argument("--filter", metavar="GLOB", action="append", default=[],
                   help="only these suites or cases (SUITE.CASE)")
    p.add_argument("arch", metavar="ARCH", nargs="*")
    args = p.parse_args()
    for arch in args.arch:
        if arch not in BUILD_DIRS:
            p.error(f"no architecture '{arch}'")
    if args.kernel:
        if args.arch or args.build_only:
            p.error("--kernel goes with neither ARCH nor --build-only")
        return int(bool(boot(args)))
    failed = [arch for arch in args.arch or BUILD_DIRS if kunit(arch, args)]
    if failed:
        raise Error(f"failed: {' '.join(failed)}")
    return 0
