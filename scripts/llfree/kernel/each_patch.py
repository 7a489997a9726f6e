# SPDX-License-Identifier: GPL-2.0
"""Build and boot the kernel after each patch of the series, as a bisection would.

Builds the kernel of a patch from branch "series" of build/linux, with all options that this
patch and earlier ones have added. Then runs a smoke test, with each allocator as soon as the
kernel has two. Also compiles the directories that patches touch without any of the options.
Prints KTAP."""

import subprocess

from llfree import program, vm
from llfree.kernel.git import Git
from llfree.kernel.tree import Tree
from llfree.ktap import Report, check
from llfree.paths import CONFIGS, GUEST, SCRIPTS
from llfree.program import Error, read

OPTION = "config LLFREE\n"
# Options that patches add besides LLFREE, with the value to set, and the option's file
OPTIONS = {
    "LLFREE_KUNIT_TEST=y": "lib/llfree/Kconfig.kunit",
    "LLFREE_ZONE_KUNIT_TEST=y": "mm/Kconfig.llfree",
    "LLFREE_HIST=y": "mm/Kconfig.llfree",
    "PAGE_ALLOC_TORTURE_TEST=m": "mm/Kconfig.debug",
    "PAGE_ISOLATION_TORTURE_TEST=y": "mm/Kconfig.debug",
    "PAGE_ALLOC_BENCH=m": "mm/Kconfig.debug",
    "ND_POOL=y": "drivers/nvdimm/Kconfig",
    "ND_POOL_LOSSY=y": "drivers/nvdimm/Kconfig",
}


# Goals of make without the options. Step text builds more.
WITHOUT = "mm/ lib/ kernel/power/ kernel/vmcore_info.o drivers/nvdimm/".split()


def has_option(source):
    """Return whether the tree lets a configuration choose LLFree."""
    if OPTION.encode() not in read(f"{source}/mm/Kconfig.llfree", b""):
        return False
    return b"Kconfig.llfree" in read(f"{source}/mm/Kconfig")


def write_options(source, path):
    """Write a fragment with the options of the patches."""
    found = [option for option, file in OPTIONS.items()
             if f"config {option[:-2]}\n".encode() in read(f"{source}/{file}", b"")]
    with open(path, "w", encoding="utf-8") as f:
        f.write("CONFIG_KUNIT=y\n" + "".join(f"CONFIG_{option}\n" for option in found))


def build(source, out, fragments, *goals):
    return subprocess.run(
        [f"{SCRIPTS}/build", "--without-llfree", "--source", source, "--out", out,
         *[a for f in fragments for a in ("--fragment", f)], "x86_64-text", *goals],
        check=False).returncode


def build_with_options(source, out, llfree):
    # x86_64-text.config turns LLFREE off; a later fragment overrides an earlier one.
    fragments = [f"{CONFIGS}/llfree.config"] * llfree + [f"{out}.options"]
    write_options(source, fragments[-1])
    return build(source, out, fragments, "bzImage", "modules")


def boot(out, alloc):
    return subprocess.run(
        vm.command(out, [f"{GUEST}/smoke"], "--mem", "512M", "--smp", "2",
                   alloc=alloc, timeout=300),
        check=False, stdin=subprocess.DEVNULL).returncode


def build_and_boot(source, out):
    """Test one patch: raise Failure unless the kernel builds and passes the smoke test."""
    llfree = has_option(source)
    check(not build_with_options(source, out, llfree), "the kernel cannot be built")
    check(not build(source, f"{out}-without", [], *WITHOUT),
          "without the options, the kernel cannot be built")
    for alloc in ("llfree", "buddy") if llfree else (None,):
        check(not boot(out, alloc), f"the smoke test fails, page_alloc={alloc}")


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
    report = Report(len(commits))
    for commit in commits:
        git("checkout", "-q", "--force", "--detach", commit)
        report.test(git("log", "-1", "--format=%s"), lambda: build_and_boot(source, out))
    return report.end()
