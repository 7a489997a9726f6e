# SPDX-License-Identifier: GPL-2.0
"""Write the mails to post to build/series, and check that the mails apply.

Makes a directory for each part of patches/letters, with a cover letter and numbered mails.
The subject and the text of the cover letter are in patches/. A patch's mail includes the
overlay files that belong to the patch. Branch "series" of build/linux has the same commits.
The check runs "git am" on a clean base tree, and compares the resulting tree with that of
the branch."""

import glob
import os
import shutil
import sys

from llfree import program
from llfree.kernel import patches
from llfree.kernel.git import Git
from llfree.kernel.tree import Tree
from llfree.paths import PATCHES
from llfree.program import Error, read, say


def cover_letter(letter, path):
    """Put the subject and the text of patches/ into git's cover letter."""
    subject, _, body = read(f"{PATCHES}/{letter}").decode().partition("\n")
    with open(path, encoding="utf-8") as f:
        mail = f.read()
    mail = mail.replace("*** SUBJECT HERE ***", subject.strip())
    mail = mail.replace("*** BLURB HERE ***", body.strip())
    with open(path, "w", encoding="utf-8") as f:
        f.write(mail)


def write_mails(tree, names, tip, out):
    """Write a directory for each part of the series. Return all mails but cover letters."""
    shutil.rmtree(out, ignore_errors=True)
    commits = ["base", *tree.git("rev-list", "--reverse", f"base..{tip}").split()]
    parts = patches.parts(names)
    starts = [names.index(first) for _, first in parts] + [len(names)]
    mails = []
    for number, (letter, _) in enumerate(parts):
        part = f"{out}/{number + 1}"
        tree.git("format-patch", "-q", "--zero-commit", "--no-signature",
                 "--cover-letter", "--no-base", "-n", "-o", part,
                 f"{commits[starts[number]]}..{commits[starts[number + 1]]}")
        first, *others = sorted(glob.glob(f"{part}/*.patch"))
        cover_letter(letter, first)
        mails += others
    return mails


def check(tree, mails, tip):
    """Run git am on a work tree that has only the files that the mails touch."""
    scratch = f"{tree.build}/series-check"
    tree.git("worktree", "prune")
    if os.path.exists(scratch):
        tree.git("worktree", "remove", "--force", scratch)
    tree.git("worktree", "add", "-q", "--detach", "--no-checkout", scratch,
             "base")
    try:
        git = Git(scratch)
        paths = tree.git("diff", "--name-only", "--no-renames", "base", tip)
        git("sparse-checkout", "set", "--no-cone", "--stdin",
            data="".join(f"/{p}\n" for p in paths.splitlines()))
        git("checkout", "-q", "--detach", "base")
        proc = git.run("am", "-q", "--whitespace=nowarn", *mails)
        if proc.returncode:
            raise Error("git am fails on a clean tree:\n"
                           + proc.stderr.decode() + proc.stdout.decode())
        if git("rev-parse", "HEAD^{tree}") != \
                tree.git("rev-parse", f"{tip}^{{tree}}"):
            raise Error("the mails give another tree than the series:\n"
                           + git("diff", "--stat", tip, "HEAD"))
    finally:
        tree.git("worktree", "remove", "--force", scratch)


def main():
    p = program.parser(__doc__)
    program.add_build(p)
    args = p.parse_args()
    tree = Tree(program.build_dir(args.build))
    with tree.locked():
        if not tree.exists():
            raise Error(f"no prepared tree in {tree.path}: "
                           "run scripts/prepare")
        names = patches.series()
        if not names:
            raise Error("patches/series is empty")
        if tree.git("rev-parse", "HEAD") != tree.state.get("head"):
            print("series: note: build/linux has commits that patches/ "
                  "lacks (make patches saves them)", file=sys.stderr)
        tip = tree.chain(names, patches.assign_overlay(names, patches.overlay_files()))
        tree.git("branch", "-f", "--no-track", "series", tip)
        out = f"{tree.build}/series"
        mails = write_mails(tree, names, tip, out)
        check(tree, mails, tip)
        say(f"{len(mails)} mails in {out}, a cover letter for each part; "
            f"all mails apply to {tree.version_name()}")
    return 0
