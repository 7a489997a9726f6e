# SPDX-License-Identifier: GPL-2.0
"""Read the patches and list the overlay files: the repository's part of the kernel source"""

import fnmatch
import glob
import hashlib
import os

from llfree.kernel.git import Git
from llfree.paths import PATCHES, TOP
from llfree.program import Error, read

OVERLAY_DIRS = ["arch", "Documentation", "drivers", "include", "kernel", "lib",
                "mm", "samples", "tools"]


def series():
    text = read(f"{PATCHES}/series", b"").decode()
    names = [t.split("#")[0].strip() for t in text.splitlines()]
    names = [n for n in names if n]
    for name in names:
        if not os.path.isfile(f"{PATCHES}/{name}"):
            raise Error(f"patches/series names {name}, which does not exist")
    if len(set(names)) != len(names):
        raise Error("patches/series names a patch twice")
    present = {os.path.basename(n) for n in glob.glob(f"{PATCHES}/*.patch")}
    if present - set(names):
        raise Error("not in patches/series: "
                    + ", ".join(sorted(present - set(names))))
    return names


def parts(names):
    """Return [(cover letter, first patch)] of patches/letters."""
    found = [line.split() for line in
             read(f"{PATCHES}/letters", b"").decode().splitlines()
             if line.strip() and not line.startswith("#")]
    places = [names.index(first) if first in names else -1 for _, first in found]
    if not found or places[0] or places != sorted(set(places)):
        raise Error("patches/letters must have a cover letter for the first patch of "
                    "patches/series, and others for later ones, in order")
    for letter, _ in found:
        if not read(f"{PATCHES}/{letter}"):
            raise Error(f"no patches/{letter}: its first line is the subject, the rest says "
                        "what the patches are for, what they cost and what is not done")
    return found


def overlay_files():
    """Return all files at kernel paths that git tracks, or that are new and not ignored."""
    out = Git(TOP).bytes("ls-files", "-z", "-co", "--exclude-standard", "--",
                         *OVERLAY_DIRS)
    names = sorted({n for n in out.decode().split("\0") if n})
    return [n for n in names if os.path.isfile(f"{TOP}/{n}")]


def overlay_map():
    """Return [(patch, pattern)] from patches/overlay."""
    rules = []
    text = read(f"{PATCHES}/overlay", b"").decode()
    for number, line in enumerate(text.splitlines(), 1):
        words = line.split("#")[0].split()
        if not words:
            continue
        if len(words) != 2:
            raise Error(f"patches/overlay:{number}: want 'PATCH PATTERN'")
        rules.append(tuple(words))
    return rules


def matches(path, pattern):
    if pattern.endswith("/"):
        return path.startswith(pattern)
    return fnmatch.fnmatchcase(path, pattern)


def assign_overlay(names, files):
    """Return {patch: [files]}. Raise unless each file belongs to exactly one patch."""
    owned = {name: [] for name in names}
    wrong = []
    used = set()
    for patch, _ in overlay_map():
        if patch not in owned:
            wrong.append(f"patches/overlay names {patch}, "
                         "which is not in patches/series")
    for path in files:
        rules = [r for r in overlay_map() if matches(path, r[1])]
        used.update(rules)
        owners = {patch for patch, _ in rules}
        if len(owners) != 1:
            wrong.append(f"{path}: " + ("in more than one patch: "
                                        + ", ".join(sorted(owners))
                                        if owners else "in no patch"))
        elif rules[0][0] in owned:
            owned[rules[0][0]].append(path)
    wrong += [f"patches/overlay: nothing matches '{pattern}' of {patch}"
              for patch, pattern in overlay_map()
              if (patch, pattern) not in used]
    if len(wrong) > 12:
        wrong[10:] = [f"and {len(wrong) - 10} more"]
    if wrong:
        raise Error("patches/overlay must give each overlay file to exactly "
                    "one patch:\n  " + "\n  ".join(wrong))
    return owned


def patches_key(names):
    h = hashlib.sha256()
    for name in names:
        h.update(name.encode() + b"\0" + read(f"{PATCHES}/{name}") + b"\0")
    return h.hexdigest()
