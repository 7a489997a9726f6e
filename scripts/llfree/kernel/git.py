# SPDX-License-Identifier: GPL-2.0
"""Run git independently of the user's configuration"""

import os
import subprocess

from llfree.program import Error


class Git:
    def __init__(self, directory):
        self.directory = directory
        self.env = {k: v for k, v in os.environ.items()
                    if not k.startswith("GIT_")}
        self.env.update(GIT_CONFIG_GLOBAL="/dev/null",
                        GIT_CONFIG_SYSTEM="/dev/null", LC_ALL="C.UTF-8",
                        TZ="UTC")

    def run(self, *argv, data=None, env=None):
        """Run a command that may fail, and return the finished process."""
        return subprocess.run(
            ["git", "-C", self.directory, *argv], input=data, check=False,
            stdin=None if data is not None else subprocess.DEVNULL,
            capture_output=True, env={**self.env, **(env or {})})

    def bytes(self, *argv, data=None, env=None):
        proc = self.run(*argv, data=data, env=env)
        if proc.returncode:
            raise Error(f"git {argv[0]} failed in {self.directory}:\n"
                        + proc.stderr.decode(errors="replace").rstrip())
        return proc.stdout

    def __call__(self, *argv, data=None, env=None):
        if isinstance(data, str):
            data = data.encode()
        return self.bytes(*argv, data=data, env=env).decode().strip()

    def ref(self, name):
        proc = self.run("rev-parse", "-q", "--verify", name)
        return proc.stdout.decode().strip() or None
