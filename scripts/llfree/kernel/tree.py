# SPDX-License-Identifier: GPL-2.0
"""Make the prepared kernel source, build/linux, and update it from the repository.

The repository has new files (the overlay, at kernel paths) and patches to files of
the kernel. build/linux is a git tree: tag "base" is the unpatched source, branch
"llfree" has one commit per patch. Overlay files are in the working tree, but not in
the commits of "llfree", and git ignores them. So a developer can amend and rebase these
commits freely. Branch "series" has the commits that "make series" posts: each has a
patch and the overlay files of that patch.

Class Tree makes commits with git's plumbing commands and a separate index, without a
checkout. Names and dates are fixed, so equal input gives equal hashes."""

import contextlib
import fcntl
import hashlib
import json
import os
import re
import shutil
import tempfile

from llfree.kernel.git import Git
from llfree.kernel.patches import overlay_files, overlay_map, patches_key, series
from llfree.kernel.source import DEBIAN_TARBALL, check_version, find_source
from llfree.paths import PATCHES, TOP
from llfree.program import Error, read, say, write_text

NAME = "LLFree for Linux"
EMAIL = "llfree@localhost"
BRANCH = "llfree"
EPOCH = "2024-11-17T22:15:08 +0000"


def with_functions(said, diff):
    """Add the function of each hunk that does not apply to git apply's messages."""
    functions, file = {}, None
    for line in diff.splitlines():
        if line.startswith("--- a/"):
            file = line[6:]
        elif m := re.match(r"@@ -(\d+)\S* \+\S+ @@ (.*)", line):
            functions[file, m[1]] = m[2]

    def add(m):
        function = functions.get((m[1], m[2]))
        return m[0] + (f", in: {function}" if function else "")
    return re.sub(r"^error: patch failed: (.*):(\d+)$", add, said, flags=re.M)


class Tree:
    def __init__(self, build):
        self.build = build
        self.path = f"{build}/linux"
        self.git = Git(self.path)
        self.state_file = f"{build}/linux.state"
        self.state = {}

    @contextlib.contextmanager
    def locked(self):
        os.makedirs(self.build, exist_ok=True)
        with open(f"{self.build}/linux.lock", "w", encoding="utf-8") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            self.state = json.loads(read(self.state_file, b"{}"))
            yield self

    def save_state(self):
        text = json.dumps(self.state, indent=1, sort_keys=True) + "\n"
        if read(self.state_file) != text.encode():
            write_text(self.state_file, text)

    def exists(self):
        return (os.path.isdir(f"{self.path}/.git")
                and self.git.ref("refs/tags/base^{commit}") is not None)

    def base(self):
        return self.git("rev-parse", "refs/tags/base^{commit}")

    def work_tree(self, name):
        """Return the path of a work tree beside build/linux. A new work tree has tag base."""
        path = f"{self.build}/{name}"
        if not os.path.exists(f"{path}/.git"):
            say(f"checking out {path} (a minute)")
            self.git("worktree", "prune")
            self.git("worktree", "add", "-q", "--detach", path, "base")
        return path

    def version(self):
        return check_version(self.git.bytes("show", "base:Makefile"),
                             self.path)

    def dirty(self):
        """Return the files of commits that differ in the working tree."""
        out = self.git.bytes("status", "--porcelain", "-z", "-uno",
                             "--no-renames")
        overlay = set(overlay_files())
        return [e for e in out.decode().split("\0")
                if e and e[3:] not in overlay]

    def on_branch(self):
        head = self.git.run("symbolic-ref", "-q", "HEAD").stdout.decode()
        return head.strip() == f"refs/heads/{BRANCH}"

    # the base commit

    def create(self, source):
        """Make a new tree. Remove an incomplete tree if an error occurs before tag base
        exists."""
        if os.path.exists(self.path) and os.listdir(self.path):
            raise Error(f"{self.path} exists but is no prepared tree (it has "
                        "no tag 'base'); move it away")
        try:
            self.fill(source)
        except BaseException:
            if not self.exists():
                shutil.rmtree(self.path, ignore_errors=True)
            raise

    def fill(self, source):
        os.makedirs(self.path, exist_ok=True)
        self.git("init", "-q", f"--initial-branch={BRANCH}")
        self.configure()
        if source.is_tree and source.commit:
            tree = source.import_into(self.git, self.path)
        else:
            with tempfile.TemporaryDirectory(dir=self.build) as tmp:
                tree = source.import_into(self.git, tmp)
        self.set_base(tree, source)
        say("checking out the source")
        self.git("reset", "-q", "--hard", "base")
        self.state["head"] = self.base()
        self.save_state()

    def configure(self):
        for key, value in (("user.name", NAME), ("user.email", EMAIL),
                           ("gc.auto", "0"), ("index.version", "4"),
                           ("core.untrackedCache", "true"),
                           ("advice.detachedHead", "false")):
            if self.git.run("config", "--get", key).stdout.decode().strip() \
                    != value:
                self.git("config", key, value)

    def set_base(self, tree, source):
        makefile = self.git.bytes("show", f"{tree}:Makefile")
        version = check_version(makefile, source.path)
        commit = self.commit_tree(tree, None, f"Linux {version}\n",
                                  NAME, EMAIL, EPOCH)
        self.git("tag", "-f", "base", commit)
        self.state.update(source=source.identity, version=version)

    def replace_base(self, source):
        self.refuse_unsaved("another kernel source is to be used")
        say("the kernel source has changed")
        with tempfile.TemporaryDirectory(dir=self.build) as tmp:
            index = f"{tmp}/index"
            os.mkdir(f"{tmp}/src")
            git = Git(self.path)
            git.env["GIT_INDEX_FILE"] = index
            tree = source.import_into(git, f"{tmp}/src")
        self.set_base(tree, source)
        self.state["patches"] = None

    # commits

    def commit_tree(self, tree, parent, message, name, email, date):
        env = {"GIT_AUTHOR_NAME": name, "GIT_AUTHOR_EMAIL": email,
               "GIT_AUTHOR_DATE": date, "GIT_COMMITTER_NAME": NAME,
               "GIT_COMMITTER_EMAIL": EMAIL, "GIT_COMMITTER_DATE": date}
        parents = ["-p", parent] if parent else []
        return self.git("commit-tree", tree, *parents, "-F", "-",
                        data=message, env=env)

    def blobs(self, files):
        """Return index-info lines that put overlay files into an index."""
        if not files:
            return ""
        paths = "".join(f"{TOP}/{f}\n" for f in files)
        ids = self.git("hash-object", "-w", "--no-filters", "--stdin-paths",
                       data=paths).split()
        lines = []
        for name, oid in zip(files, ids):
            mode = "100755" if os.access(f"{TOP}/{name}", os.X_OK) else \
                "100644"
            lines.append(f"{mode} {oid}\t{name}\n")
        return "".join(lines)

    def chain(self, names, overlay):
        """Commit the patches on base, each with its overlay files. Return the last commit."""
        with tempfile.TemporaryDirectory(dir=self.build) as tmp:
            git = Git(self.path)
            git.env["GIT_INDEX_FILE"] = f"{tmp}/index"
            git("read-tree", "base")
            parent = self.base()
            for name in names:
                parent = self.chain_one(git, tmp, parent, name,
                                        overlay.get(name, []))
        return parent

    def chain_one(self, git, tmp, parent, name, files):
        info = git.bytes("mailinfo", "-b", f"{tmp}/msg", f"{tmp}/diff",
                         data=read(f"{PATCHES}/{name}")).decode()
        head = dict(t.split(": ", 1) for t in info.splitlines() if ": " in t)
        if not {"Author", "Email", "Subject", "Date"} <= set(head):
            raise Error(f"patches/{name} is no git format-patch mail")
        if b"\ndiff --git " in b"\n" + read(f"{tmp}/diff"):
            proc = git.run("apply", "--cached", "--whitespace=nowarn",
                           f"{tmp}/diff")
            if proc.returncode:
                raise Error(
                    f"patches/{name} does not apply to {self.version_name()}"
                    " (first of the series that fails):\n"
                    + with_functions(proc.stderr.decode(errors="replace").rstrip(),
                                     read(f"{tmp}/diff").decode(errors="replace")))
        elif not files:
            # A patch that has only overlay files becomes an empty commit.
            if name not in {patch for patch, _ in overlay_map()}:
                raise Error(f"patches/{name} changes nothing")
        for path in files:
            if git.run("cat-file", "-e", f"base:{path}").returncode == 0:
                raise Error(f"{path} exists in {self.version_name()}: "
                            "edits to it belong into a patch")
        if files:
            git("update-index", "--add", "--index-info",
                data=self.blobs(files))
        body = read(f"{tmp}/msg").decode().strip()
        message = head["Subject"] + "\n" + (f"\n{body}\n" if body else "")
        return self.commit_tree(git("write-tree"), parent, message,
                                head["Author"], head["Email"], head["Date"])

    def version_name(self):
        return f"Linux {self.version()}"

    def refuse_unsaved(self, why):
        """Raise Error if the tree has edits or commits that patches/ lacks."""
        if not self.on_branch():
            raise Error(f"{self.path} is not on branch {BRANCH} (a rebase "
                        f"under way?), and {why}")
        dirty = self.dirty()
        if dirty:
            raise Error(f"{self.path} has uncommitted edits, and {why}:\n  "
                        + "\n  ".join(dirty[:20])
                        + "\nCommit them and run 'make patches', "
                        "or take them back.")
        if self.git("rev-parse", "HEAD") != self.state.get("head"):
            raise Error(f"{self.path} has commits that patches/ lacks, and "
                        f"{why}.\nSave them with 'make patches', or drop "
                        f"them: git -C {self.path} reset --hard "
                        f"{self.state.get('head') or 'base'}")

    def apply_series(self):
        names = series()
        key = patches_key(names)
        if self.state.get("patches") == key:
            return
        tip = self.chain(names, {})
        head = self.git("rev-parse", "HEAD")
        if self.git("rev-parse", f"{tip}^{{tree}}") != \
                self.git("rev-parse", f"{head}^{{tree}}"):
            self.refuse_unsaved("the patches have changed")
            self.git("reset", "-q", "--hard", tip)
            say(f"{self.path}: {len(names)} patches on {self.version_name()}")
            head = tip
        self.state.update(patches=key, head=head)

    # overlay files in the working tree

    def sync_overlay(self):
        files = overlay_files()
        last = self.state.get("overlay", {})
        now = {}
        for name in files:
            self.copy(name, last.get(name))
            now[name] = digest(read(f"{TOP}/{name}"))
        for name in sorted(set(last) - set(now)):
            self.remove(name, last[name])
        self.state["overlay"] = now
        exclude = "".join(f"/{name}\n" for name in files)
        text = ("# The overlay files; they live in the repository.\n"
                + exclude).encode()
        where = f"{self.path}/.git/info/exclude"
        if read(where) != text:
            os.makedirs(os.path.dirname(where), exist_ok=True)
            with open(where, "wb") as f:
                f.write(text)
        return files

    def refuse_edited(self, name, content, last):
        """Raise Error if the copy was edited instead of the repository's file."""
        if last is not None and digest(content) != last:
            raise Error(
                f"{self.path}/{name} was edited, but it is a copy of the "
                f"repository's {name}: move the edit there, then remove "
                "the copy")

    def copy(self, name, last):
        src, dst = f"{TOP}/{name}", f"{self.path}/{name}"
        content, old = read(src), read(dst)
        mode = 0o755 if os.access(src, os.X_OK) else 0o644
        if old == content:
            if os.stat(dst).st_mode & 0o777 != mode:
                os.chmod(dst, mode)
            return
        if old is not None:
            if last is None and self.git.run(
                    "cat-file", "-e", f"base:{name}").returncode == 0:
                raise Error(f"{name} exists in {self.version_name()}: edits "
                            "to it belong into a patch")
            self.refuse_edited(name, old, last)
        os.makedirs(os.path.dirname(dst), exist_ok=True)
        with open(f"{dst}.new~", "wb") as f:
            f.write(content)
        os.chmod(f"{dst}.new~", mode)
        os.replace(f"{dst}.new~", dst)

    def remove(self, name, last):
        dst = f"{self.path}/{name}"
        content = read(dst)
        if content is None:
            return
        self.refuse_edited(name, content, last)
        os.unlink(dst)
        folder = os.path.dirname(name)
        while folder and not os.listdir(f"{self.path}/{folder}"):
            os.rmdir(f"{self.path}/{folder}")
            folder = os.path.dirname(folder)

    # everything

    def prepare(self):
        if not self.exists():
            self.create(find_source())
        else:
            self.configure()
            self.follow_source()
        self.apply_series()
        self.save_state()
        files = self.sync_overlay()
        self.save_state()
        return files

    def follow_source(self):
        """Replace the base of an existing tree if the kernel source has changed."""
        if not self.state:
            # A tree that was made by hand is kept as it is.
            version = self.version()
            say(f"adopting {self.path}, Linux {version}")
            self.state.update(version=version, head=self.base())
            if not series():
                self.state["patches"] = patches_key([])
        if not os.environ.get("LINUX_SRC") and \
                (not os.path.exists(DEBIAN_TARBALL)
                 or not self.state.get("source", "").startswith("file ")):
            return
        source = find_source()
        if "source" not in self.state:
            self.state["source"] = source.identity
        elif source.identity != self.state["source"]:
            self.replace_base(source)


def digest(content):
    return hashlib.sha256(content).hexdigest()
