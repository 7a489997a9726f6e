# SPDX-License-Identifier: GPL-2.0
"""Write patches/ again from the commits of build/linux since tag base.

Writes one file per commit, named after the commit's subject, and their order to
patches/series. Leaves out overlay files, which the repository has. Refuses to write while
build/linux has uncommitted edits, so that patches/ never has a part of a change."""

import glob
import os
import re

from llfree import program
from llfree.kernel import patches
from llfree.kernel.tree import BRANCH, Tree
from llfree.paths import PATCHES
from llfree.program import Error, read, say


def refuse_uncommitted(tree):
    dirty = tree.dirty()
    new = [e[3:] for e in tree.git.bytes(
        "status", "--porcelain", "-z", "-unormal",
        "--no-renames").decode().split("\0") if e.startswith("?? ")]
    text = ""
    if dirty:
        text += ("\nedited, but not committed (git commit, or git commit "
                 "--amend, in build/linux first):\n  " + "\n  ".join(dirty))
    if new:
        text += ("\nnew files (to be moved into the repository, to the same "
                 "path):\n  " + "\n  ".join(new))
    if text:
        raise Error(f"nothing written, {tree.path} has files that no "
                       f"patch would have:{text}")


def patch_text(tree, commit, exclude):
    text = tree.git.bytes(
        "-c", "diff.renames=false", "-c", "format.useAutoBase=false",
        "format-patch", "--stdout", "--zero-commit", "--no-signature",
        "-N", "--always", "--no-renames", "--abbrev=12", "--stat=72",
        "--diff-algorithm=myers", "--no-ext-diff", f"{commit}^!", "--", ".",
        *exclude)
    if text:
        return text
    # With path limits, git leaves out a commit that has only overlay files.
    head = tree.git("log", "-1", "--date=format-local:%a, %d %b %Y "
                    "%H:%M:%S +0000",
                    "--format=From: %an <%ae>%nDate: %ad%n"
                    "Subject: [PATCH] %s%n%n%b", commit)
    return ("From " + "0" * 40 + " Mon Sep 17 00:00:00 2001\n"
            + head.rstrip() + "\n---\n").encode()


def main():
    p = program.parser(__doc__)
    program.add_build(p)
    args = p.parse_args()
    tree = Tree(program.build_dir(args.build))
    with tree.locked():
        save(tree)
    return 0


def save(tree):
    if not tree.exists():
        raise Error(f"no prepared tree in {tree.path}: run scripts/prepare")
    if not tree.on_branch():
        raise Error(f"{tree.path} is not on branch {BRANCH}: finish "
                       "the rebase, or check the branch out")
    refuse_uncommitted(tree)
    if tree.git("rev-list", "--merges", "base..HEAD"):
        raise Error(f"{tree.path} has merge commits")
    exclude = [f":(exclude){name}" for name in patches.overlay_files()]
    texts = {}
    for commit in tree.git("rev-list", "--reverse", "base..HEAD").split():
        slug = re.sub(r"[^\w-]+", "-", tree.git("log", "-1", "--format=%f",
                                                commit).lower())
        name = slug.strip("-")[:64].rstrip("-") + ".patch"
        if name in texts:
            raise Error(f"two commits are called '{slug}'")
        texts[name] = patch_text(tree, commit, exclude)
    os.makedirs(PATCHES, exist_ok=True)
    written = sum(write(f"{PATCHES}/{n}", t) for n, t in texts.items())
    for path in glob.glob(f"{PATCHES}/*.patch"):
        if os.path.basename(path) not in texts:
            os.unlink(path)
            written += 1
    written += write(f"{PATCHES}/series",
                     "".join(f"{n}\n" for n in texts).encode())
    tree.state.update(patches=patches.patches_key(patches.series()),
                      head=tree.git("rev-parse", "HEAD"))
    tree.save_state()
    say(f"{len(texts)} patches, {written} files changed in patches/")
    patches.assign_overlay(patches.series(), patches.overlay_files())


def write(path, data):
    if read(path) == data:
        return False
    with open(path, "wb") as f:
        f.write(data)
    return True
