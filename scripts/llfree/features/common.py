# SPDX-License-Identifier: GPL-2.0
"""Helpers that the topics of scripts/features share on the host"""

import json
import os
import socket
import time

from llfree.ktap import Failure
from llfree.vm import command as boot

MIB = 1 << 20


def vm(args, options, command, alloc=None, timeout=600):
    """Return the command line of a guest with the options that all topics need."""
    env = ["--env", f"KERNEL={os.path.abspath(args.kernel)}"]
    if os.environ.get("LINUX"):
        env += ["--env", f"LINUX={os.path.abspath(os.environ['LINUX'])}"]
    return boot(args.kernel, command, *env, "--patient", *options,
                alloc=alloc or args.alloc, timeout=timeout)


def connect(path):
    """Connect to a UNIX socket that QEMU serves, and return it."""
    ours = socket.socket(socket.AF_UNIX)
    deadline = time.monotonic() + 30
    while True:
        try:
            ours.connect(path)
            return ours
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


class Qmp:
    """A connection with QEMU's machine protocol, for commands of the topics"""

    def __init__(self, path):
        self.socket = connect(path)
        self.file = self.socket.makefile("r", encoding="utf-8")
        self.file.readline()
        self.command("qmp_capabilities")

    def command(self, name, **arguments):
        self.socket.sendall(json.dumps(
            {"execute": name, "arguments": arguments}).encode())
        for line in self.file:
            answer = json.loads(line)
            if "return" in answer:
                return answer["return"]
            if "error" in answer:
                raise Failure(f"{name}: {answer['error']['desc']}")
        raise Failure(f"{name}: QEMU is gone")

    def balloon(self):
        return self.command("query-balloon")["actual"] // MIB
