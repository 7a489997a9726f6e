# SPDX-License-Identifier: GPL-2.0
"""Test which lines of a kernel log report a problem, with known lines."""

import unittest

from llfree import klog

KILLED = ("[ 12.0] Out of memory: Killed process 77 (hog) total-vm:9kB, "
          "anon-rss:1kB")
FAILED = ("[ 12.1] hog: page allocation failure: order:0, mode:0xcc0(GFP_KERNEL)",
          "[ 12.1] nodemask=(null),cpuset=/,mems_allowed=0",
          "[ 12.1] CPU: 1 UID: 0 PID: 77 Comm: hog Not tainted 6.12.0")


def trouble(*lines):
    return [i for i in range(len(lines)) if klog.is_trouble(lines, i)]


class Trouble(unittest.TestCase):
    def test_reports(self):
        for line in ("WARNING: CPU: 0 PID: 1 at mm/page_alloc.c:1 f+0x1/0x2",
                     "BUG: Bad page state in process x  pfn:1",
                     "BUG: KASAN: use-after-free in f+0x1/0x2",
                     "kernel BUG at mm/page_alloc.c:1!",
                     "Oops: general protection fault, probably for",
                     "list_add corruption. prev->next should be next",
                     "rcu: INFO: rcu_preempt self-detected stall on CPU",
                     "INFO: task cat:1 blocked for more than 120 seconds."):
            with self.subTest(line=line):
                self.assertEqual(trouble("[ 1.0] " + line), [0])

    def test_harmless(self):
        self.assertEqual(trouble(
            KILLED, "[ 1.0] Warning: unable to open an initial console.",
            "[ 1.0] hog invoked oom-killer: gfp_mask=0xcc0(GFP_KERNEL)",
            "[ 1.0] debug: a bug of no kind"), [])

    def test_failure(self):
        self.assertEqual(trouble(*FAILED), [0])

    def test_failure_of_the_killed(self):
        self.assertEqual(trouble(KILLED, *FAILED), [])

    def test_failure_before_the_kill(self):
        self.assertEqual(trouble(*FAILED, KILLED), [0])

    def test_failure_of_another(self):
        self.assertEqual(trouble(KILLED.replace("77", "777"), *FAILED), [1])

    def test_failure_of_an_unknown_task(self):
        self.assertEqual(trouble(KILLED, FAILED[0]), [1])
        # A task that is named much later is another task.
        self.assertEqual(trouble(KILLED, *FAILED[:2], "[ 12.1] x",
                                 FAILED[2]), [1])
