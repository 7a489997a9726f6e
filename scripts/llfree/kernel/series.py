# SPDX-License-Identifier: GPL-2.0
"""Write the posting form to build/series and check that it applies.

Numbered mails with a cover letter (subject and text from patches/cover-letter
if that exists), each with its overlay files; the same commits are branch
"series" of build/linux. The check runs "git am" on a clean base tree and
compares the result file by file."""

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


def cover_letter(path):
    """git's cover letter with our subject and text in it."""
    text = read(f"{PATCHES}/cover-letter")
    if not text:
        return
    subject, _, body = text.decode().partition("\n")
    with open(path, encoding="utf-8") as f:
        mail = f.read()
    mail = mail.replace("*** SUBJECT HERE ***", subject.strip())
    mail = mail.replace("*** BLURB HERE ***", body.strip())
    with open(path, "w", encoding="utf-8") as f:
        f.write(mail)


def check(tree, mails, tip):
    """git am on a work tree that holds just the files the mails touch."""
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
        shutil.rmtree(out, ignore_errors=True)
        tree.git("format-patch", "-q", "--zero-commit", "--no-signature",
                 "--cover-letter", "--no-base", "-n", "-o", out,
                 f"base..{tip}")
        mails = sorted(glob.glob(f"{out}/*.patch"))
        cover_letter(mails[0])
        check(tree, mails[1:], tip)
        say(f"{len(mails) - 1} mails and a cover letter in {out}, "
               f"they apply to {tree.version_name()}")
    return 0
