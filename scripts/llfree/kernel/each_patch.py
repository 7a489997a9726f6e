# SPDX-License-Identifier: GPL-2.0
"""Build and boot the kernel after each patch of the series, as a bisection would.

The kernel of a patch is built from branch "series" of build/linux, with LLFree as
soon as the configuration has it. A smoke test runs with each allocator. Output is
KTAP."""

import subprocess

from llfree import program
from llfree.kernel.git import Git
from llfree.kernel.tree import Tree
from llfree.paths import TOP
from llfree.program import Error, read

SMOKE = f"{TOP}/scripts/guest/smoke"
OPTION = "config LLFREE\n"


def has_option(source):
    """Whether the tree lets a configuration choose LLFree"""
    if OPTION.encode() not in read(f"{source}/mm/Kconfig.llfree", b""):
        return False
    return b"Kconfig.llfree" in read(f"{source}/mm/Kconfig")


def build(source, out, llfree):
    # LLFREE is off in x86_64-text.config; the last fragment decides.
    option = ["--fragment", f"{TOP}/scripts/config/llfree.config"] * llfree
    return subprocess.run(
        [f"{TOP}/scripts/build", "--without-llfree", "--source", source,
         "--out", out, *option, "x86_64-text", "bzImage"],
        check=False).returncode


def boot(out, alloc):
    option = ["--alloc", alloc] if alloc else []
    return subprocess.run(
        [f"{TOP}/scripts/vm", "--kernel", out, *option, "--mem", "512M",
         "--smp", "2", "--timeout", "300", "--", SMOKE],
        check=False, stdin=subprocess.DEVNULL).returncode


def main():
    p = program.parser(__doc__)
    program.add_build(p)
    p.add_argument("--from", metavar="N", dest="first", type=int, default=1,
                   help="number of the patch to begin with (default: 1)")
    args = p.parse_args()
    tree = Tree(program.build_dir(args.build))
    with tree.locked():
        source = tree.work_tree("linux-each")
    if not tree.git.ref("series"):
        raise Error("no branch 'series': run scripts/series")
    git, out = Git(source), f"{tree.build}/each"
    commits = tree.git("rev-list", "--reverse",
                       "base..series").split()[args.first - 1:]
    if not commits:
        raise Error(f"there is no patch {args.first}")
    print(f"KTAP version 1\n1..{len(commits)}")
    failed = 0
    for nr, commit in enumerate(commits, 1):
        git("checkout", "-q", "--force", "--detach", commit)
        subject = git("log", "-1", "--format=%s")
        llfree = has_option(source)
        bad = build(source, out, llfree)
        for alloc in ("llfree", "buddy") if llfree else (None,):
            bad = bad or boot(out, alloc)
        failed += bool(bad)
        print(f"{'not ' * bool(bad)}ok {nr} {subject}", flush=True)
    print(f"# Totals: pass:{len(commits) - failed} fail:{failed} xfail:0 "
          "xpass:0 skip:0 error:0")
    return int(bool(failed))
