# SPDX-License-Identifier: GPL-2.0
"""Check that the kernel's code without CONFIG_LLFREE is the unpatched kernel's code.

Builds mm/ and the objects of all other files that the patches touch, once from tag
base and once from the patched tree. Both builds have the same small configuration,
with LLFREE off and no line numbers in the code. Compares the bytes of all executable
sections of every object, and the symbols that the sections' relocations name. With
--all compares the whole kernel, since a header may matter to any object.

An object may differ only if a patch's message has a line
    Text-change: PATH/OBJECT.o (reason)"""

import os
import re
import struct
import subprocess

from llfree import program
from llfree.kernel import patches
from llfree.kernel.git import Git
from llfree.kernel.tree import Tree
from llfree.paths import PATCHES, SCRIPTS
from llfree.program import Error, read

SHT_SYMTAB, SHT_RELA, SHF_EXECINSTR = 2, 4, 4
STT_FUNC, STT_SECTION = 2, 3


def code(path):
    """Return ({section: [(bytes, relocations)]}, {function: bytes}) of an object."""
    data = read(path)
    if data[:6] != b"\x7fELF\x02\x01":
        return None
    shoff, = struct.unpack_from("<Q", data, 0x28)
    shnum, shstrndx = struct.unpack_from("<HH", data, 0x3c)
    heads = [struct.unpack_from("<IIQQQQIIQQ", data, shoff + 64 * i)
             for i in range(shnum)]

    def content(i):
        return data[heads[i][4]:heads[i][4] + heads[i][5]]

    def string(table, offset):
        return table[offset:table.index(b"\0", offset)].decode()

    names = content(shstrndx)
    name = [string(names, h[0]) for h in heads]
    symbols, functions = [], {}
    for i, h in enumerate(heads):
        if h[1] == SHT_SYMTAB:
            strings = content(h[6])
            for st_name, info, _, shndx, value, size in struct.iter_unpack(
                    "<IBBHQQ", content(i)):
                if info & 15 == STT_FUNC and shndx < shnum:
                    functions[string(strings, st_name)] = \
                        content(shndx)[value:value + size]
                # Offsets in data sections may change.
                symbols.append(name[shndx] if info & 15 == STT_SECTION
                               else string(strings, st_name))
    relocations = {}
    for i, h in enumerate(heads):
        if h[1] == SHT_RELA:
            relocations[h[7]] = [
                (off, info & 0xffffffff, plain(symbols[info >> 32]))
                for off, info, _ in struct.iter_unpack("<QQq", content(i))]
    sections = {}
    for i, h in enumerate(heads):
        if h[2] & SHF_EXECINSTR and h[5]:
            # Sections with the same name, such as .text of several functions, in order
            old = sections.setdefault(name[i], [])
            old.append((content(i), relocations.get(i, [])))
    return sections, functions


def difference(one, two):
    """Return the sections that differ, and the functions that could be the reason."""
    sections = sorted(s for s in set(one[0]) | set(two[0])
                      if one[0].get(s) != two[0].get(s))
    functions = sorted(f for f in set(one[1]) | set(two[1])
                       if one[1].get(f) != two[1].get(f))
    # A call of a function that has moved differs, too, but keeps the caller's size.
    resized = [f for f in functions
               if len(one[1].get(f, b"")) != len(two[1].get(f, b""))]
    return sections + [f"{f}()" for f in resized or functions]


def plain(symbol):
    """Return a symbol without the counter that the compiler appends to local names."""
    return re.sub(r"(__UNIQUE_ID_\w*?|\.)\d+$", r"\1", symbol)


def goals_of(tree, everything):
    if everything:
        return ["vmlinux.o"]
    touched = tree.git("diff", "--name-only", "--no-renames", "base")
    found = {"mm/"}
    for path in touched.splitlines():
        if path.endswith((".c", ".S")) and \
                not path.startswith(("mm/", "tools/")):
            found.add(os.path.splitext(path)[0] + ".o")
    return sorted(found)


def build(source, out, goals):
    argv = [f"{SCRIPTS}/build", "--without-llfree", "--source", source,
            "--out", out, "x86_64-text", *goals]
    if subprocess.run(argv, check=False).returncode:
        raise Error(f"cannot build {' '.join(goals)} of {source}")


def objects(out, goals):
    found = set()
    tops = ["."] if goals == ["vmlinux.o"] else goals
    for top in tops:
        if top.endswith(".o"):
            found.add(top)
        for folder, dirs, files in os.walk(f"{out}/{top}"):
            dirs[:] = [d for d in dirs if d not in ("tools", "scripts")]
            found |= {os.path.relpath(f"{folder}/{f}", out) for f in files
                      if f.endswith(".o") and not f.startswith(".")
                      and not f.endswith(".mod.o")}
    return {f for f in found if "/" in f}


def allowed():
    """Return {object: reason} from the patches' messages."""
    found = {}
    for name in patches.series():
        text = read(f"{PATCHES}/{name}").decode()
        for m in re.finditer(r"^Text-change: (\S+\.o) \((.+)\)$", text, re.M):
            found[m[1]] = m[2]
    return found


def base_tree(tree):
    path = tree.work_tree("linux-base")
    git = Git(path)
    if git("rev-parse", "HEAD") != tree.base():
        git("reset", "-q", "--hard", "base")
    return path


def main():
    p = program.parser(__doc__)
    program.add_build(p)
    p.add_argument("--all", action="store_true",
                   help="compare the whole kernel")
    args = p.parse_args()
    tree = Tree(program.build_dir(args.build))
    with tree.locked():
        base = base_tree(tree)
    goals = goals_of(tree, args.all)
    outs = [f"{tree.build}/text-base", f"{tree.build}/text-patched"]
    for source, out in zip((base, tree.path), outs):
        build(source, out, goals)
    return compare(*outs, goals)


def compare(old, new, goals):
    reasons = allowed()
    same, excused, bad = 0, [], []
    names = objects(old, goals) | objects(new, goals)
    for name in sorted(names):
        missing = [out for out in (old, new)
                   if not os.path.exists(f"{out}/{name}")]
        if missing:
            bad.append(f"{name}: not built in {missing[0]}")
            continue
        one, two = code(f"{old}/{name}"), code(f"{new}/{name}")
        if one is None and two is None:
            continue
        if one and two and one[0] == two[0]:
            same += 1
            continue
        differ = difference(one, two) if one and two else []
        if name in reasons:
            excused.append(f"{name}: {reasons[name]}")
        else:
            bad.append(f"{name}: {' '.join(differ)}")
    for text in excused:
        print(f"  differs, for a stated reason: {text}")
    for text in bad:
        print(f"  differs: {text}")
    print(f"  {same} objects of {' '.join(goals)} have the same code with and "
          f"without the patches, {len(excused)} differ for a stated reason, "
          f"{len(bad)} differ")
    if not same:
        raise Error("no object was compared")
    return 1 if bad else 0
