# SPDX-License-Identifier: GPL-2.0
"""What the topics of scripts/features share on the host"""

import json
import os
import socket
import sys
import time

TOP = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
GUEST = f"{TOP}/scripts/guest"
for linux in os.environ.get("LINUX"), f"{TOP}/build/linux":
    if linux:
        sys.path.append(f"{linux}/tools/testing/selftests/kselftest")
# pylint: disable=wrong-import-position
try:
    import ksft
except ModuleNotFoundError:    # --help does without
    ksft = None

MIB = 1 << 20


class Failure(Exception):
    """A test failed; the text says why."""


class Skip(Exception):
    """A test cannot run here; the text says why."""


def check(condition, text):
    if not condition:
        raise Failure(text)


def vm(args, options, command, alloc=None, timeout=600):
    argv = [f"{TOP}/scripts/vm", "--kernel", args.kernel, "--timeout",
            str(timeout), "--env", f"KERNEL={os.path.abspath(args.kernel)}",
            "--patient", *options]
    if os.environ.get("LINUX"):
        argv += ["--env", f"LINUX={os.path.abspath(os.environ['LINUX'])}"]
    if alloc or args.alloc:
        argv += ["--alloc", alloc or args.alloc]
    return [*argv, "--", *command]


def has_option(args, name):
    try:
        with open(f"{args.kernel}/.config", encoding="utf-8") as f:
            return f"{name}=y\n" in f.read()
    except FileNotFoundError:
        return True     # only an image: try


class Ktap:
    """The tests of a topic that the host judges"""

    def __init__(self, topic, names):
        self.topic = topic
        self.left = list(names)
        self.failed = False
        ksft.ksft_cnt = {"pass": 0, "fail": 0, "skip": 0}
        ksft.ksft_test_number = 1
        ksft.print_header()
        ksft.set_plan(len(self.left))

    def test(self, name, function):
        self.left.remove(name)
        name = f"{self.topic}.{name}"
        try:
            text = function()
        except Skip as e:
            ksft.print_msg(f"{name}: {e}")
            ksft.test_result_skip(name)
        except (Failure, OSError) as e:
            ksft.print_msg(f"{name}: {e}")
            ksft.test_result_fail(name)
            self.failed = True
        else:
            ksft.print_msg(f"{name}: {text}")
            ksft.test_result_pass(name)
        sys.stdout.flush()

    def end(self):
        ksft.print_cnts()
        sys.stdout.flush()
        return int(self.failed)


def connect(path):
    """A UNIX socket that QEMU serves"""
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
    """QEMU's machine protocol, as much of it as the topics need"""

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
