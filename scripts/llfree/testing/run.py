# SPDX-License-Identifier: GPL-2.0
"""Run a test, print its line, and count the result"""

import os
import re
import shlex
import subprocess
import time

from llfree.paths import BUILD, TOP
from llfree.program import make_env, read_text
from llfree.testing.count import Count

LOGS = f"{BUILD}/test"
TAIL = 40
NOT_OK = re.compile(r"\s*(\[[\d. ]+\]\s*)?not ok ")

counts = []
builds = {}                     # seconds by kernel


def excerpt(lines):
    """Return the lines that show why a step failed: each failed test of a KTAP report with
    some lines around it. Without a failed test, return the end of the log."""
    show = set()
    for i, text in enumerate(lines):
        if NOT_OK.match(text):
            show.update(range(max(i - 10, 0), min(i + 3, len(lines))))
    if not show:
        return lines[-TAIL:]
    show = sorted(show)[:TAIL]
    out = []
    for i, nr in enumerate(show):
        if nr and (not i or show[i - 1] != nr - 1):
            out.append("...")
        out.append(lines[nr])
    return out


def report(name, count, seconds, log=None, note=""):
    """Print a test's line, count the result, and print the excerpt of a failure's log."""
    counts.append(count)
    word = "FAIL" if count.failed else "PASS" if count.passed else "SKIP"
    several = sum(count) > 1
    detail = f" {count.passed}/{sum(count)} passed," if several else ""
    if several and count.skipped:
        detail += f" {count.skipped} skipped,"
    print(f"{word} {name}:{detail} {seconds:.1f} s{note}", flush=True)
    if count.failed and log:
        lines = read_text(log, "").splitlines()
        for text in excerpt(lines):
            print(f"     | {text}")
        print(f"     | (full log: {log})", flush=True)
    return not count.failed


def run(log, argv, timeout, cwd=TOP, **env):
    """Run a command with its output in a log. Return the exit status, 124 on timeout."""
    os.makedirs(LOGS, exist_ok=True)
    with open(log, "w", encoding="utf-8") as f:
        f.write(f"$ {shlex.join(argv)}\n")
        f.flush()
        proc = subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=f, cwd=cwd,
            stderr=subprocess.STDOUT, env={**make_env("ALLOC", "BUILD"), **env},
            start_new_session=True)
        try:
            return proc.wait(timeout)
        except subprocess.TimeoutExpired:
            return 124
        finally:
            if proc.poll() is None:
                os.killpg(proc.pid, 15)
                try:
                    proc.wait(10)
                except subprocess.TimeoutExpired:
                    os.killpg(proc.pid, 9)
                    proc.wait()


def command(name, argv, timeout=600, parse=None, **env):
    """Run a command as one test, or as the tests that parse() finds in its output."""
    log = f"{LOGS}/{re.sub(r'[^a-zA-Z0-9_.-]+', '-', name)}.log"
    start = time.monotonic()
    status = run(log, argv, timeout, **env)
    seconds = time.monotonic() - start
    count = Count(int(not status), int(bool(status)), 0)
    if parse:
        found = parse(read_text(log))
        if not found or not sum(found):
            count = Count(0, 1, 0)
        elif status and not found.failed:
            count = found._replace(failed=1)
        else:
            count = found
    return report(name, count, seconds, log,
                  " (timeout)" if status == 124 else "")


def built(target):
    """Build a kernel once per run, and count the build as a test. Return whether it is
    built."""
    if target not in builds:
        start = time.monotonic()
        if not command(f"build {target}", ["scripts/build", target], 3600):
            return False
        builds[target] = time.monotonic() - start
    return True
