# SPDX-License-Identifier: GPL-2.0
"""Find the unpatched kernel source and import it into git"""

import os
import re
import subprocess

from llfree.kernel.git import Git
from llfree.program import Error, read, say

DEBIAN_PACKAGE = "linux-source-6.12"
DEBIAN_TARBALL = f"/usr/src/{DEBIAN_PACKAGE}.tar.xz"
WANTED = "6.12"


class Source:
    def __init__(self, path):
        self.path = os.path.realpath(path)
        self.is_tree = os.path.isdir(self.path)
        if self.is_tree:
            if not os.path.isfile(f"{self.path}/kernel/sched/core.c"):
                raise Error(f"{path} is no kernel source tree")
            self.commit = None
            if os.path.exists(f"{self.path}/.git"):
                self.commit = Git(self.path).ref("HEAD")
                dirty = Git(self.path)("status", "--porcelain", "-uno")
                if dirty:
                    raise Error(f"{path} has uncommitted changes; "
                                "only its last commit would be used")
            elif os.path.exists(f"{self.path}/.config"):
                raise Error(f"{path} has been built in: "
                            "run 'make mrproper' there first")
            if self.commit:
                self.identity = f"commit {self.commit}"
            else:
                st = os.stat(f"{self.path}/Makefile")
                self.identity = f"tree {self.path} {st.st_mtime_ns}"
        else:
            st = os.stat(self.path)
            self.identity = f"file {self.path} {st.st_size} {st.st_mtime_ns}"

    def import_into(self, git, directory):
        """Import the source's files into git, and return the id of their tree object."""
        if self.is_tree and self.commit:
            say(f"taking commit {self.commit[:12]} of {self.path}")
            git("fetch", "-q", "--no-tags", "--depth=1", self.path, "HEAD")
            return git("rev-parse", "FETCH_HEAD^{tree}")
        say(f"unpacking {self.path} (a minute or two)")
        if self.is_tree:
            argv = ["cp", "-a", "--", f"{self.path}/.", directory]
        else:
            argv = ["tar", "-C", directory, "--strip-components=1",
                    "--no-same-owner", "-xf", self.path]
        if subprocess.run(argv, check=False).returncode:
            raise Error(f"cannot unpack {self.path}")
        check_version(read(f"{directory}/Makefile", b""), self.path)
        say("storing it in git (a minute or two)")
        git("-c", "core.looseCompression=1", f"--work-tree={directory}",
            "add", "-A", "-f", ".")
        return git("write-tree")


def find_source():
    given = os.environ.get("LINUX_SRC")
    if given and not os.path.exists(given):
        raise Error(f"LINUX_SRC={given} does not exist")
    if not given and not os.path.exists(DEBIAN_TARBALL):
        raise Error(f"no {DEBIAN_TARBALL}: run 'apt-get install "
                    f"{DEBIAN_PACKAGE}' or set LINUX_SRC=<tree or tarball>")
    return Source(given or DEBIAN_TARBALL)


def check_version(makefile, where):
    text = makefile.decode(errors="replace")
    parts = [re.search(rf"^{key} = *(\S*)$", text, re.M)
             for key in ("VERSION", "PATCHLEVEL", "SUBLEVEL", "EXTRAVERSION")]
    if not all(parts):
        raise Error(f"{where} is no kernel source: no version in its Makefile")
    version = ".".join(m[1] for m in parts[:3] if m[1]) + parts[3][1]
    if ".".join(m[1] for m in parts[:2]) != WANTED:
        raise Error(f"{where} is Linux {version}; "
                    f"the patches are for {WANTED}.y")
    return version
