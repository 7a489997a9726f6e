# SPDX-License-Identifier: GPL-2.0
"""Make build/linux from the kernel source, the patches as commits, and the overlay.

The source is Debian's linux-source-6.12, or LINUX_SRC=<tree or tarball>. A later run
updates only outdated parts of build/linux. Never discards edits or commits that
patches/ does not have."""

import sys

from llfree import program
from llfree.kernel import patches
from llfree.kernel.tree import Tree
from llfree.program import Error


def main():
    p = program.parser(__doc__)
    program.add_build(p)
    p.add_argument("--print-version", action="store_true",
                   help="print the prepared tree's version and stop")
    args = p.parse_args()
    tree = Tree(program.build_dir(args.build))
    with tree.locked():
        if args.print_version:
            if not tree.exists():
                raise Error(f"no prepared tree in {tree.build}")
            print(tree.version())
            return 0
        files = tree.prepare()
        try:
            patches.assign_overlay(patches.series(), files)
        except Error as e:
            # A kernel can be built without an assignment, but "make series" needs one.
            print(f"prepare: note: {e}", file=sys.stderr)
    return 0
