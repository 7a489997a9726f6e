# SPDX-License-Identifier: GPL-2.0
"""Find messages in a kernel log that report a problem, on the host and in guests."""

import re

# Messages of the OOM killer are no trouble.
TROUBLE = re.compile(r"""
	\bWARNING:\s | \bBUG:\s | \bkernel\ BUG\ at\b | \bOops\b |
	\bKernel\ panic\b | \bUBSAN:\s | \bKFENCE:\s |
	\bgeneral\ protection\ fault[,:] | \bdouble\ fault: | \bdivide\ error: |
	\binvalid\ opcode: | \bunable\ to\ handle\b |
	\brcu:\ INFO:.*\b(stall|self-detected)\b | \brcu:.*\bstarved\b |
	\bINFO:\ task\b.*\bblocked\ for\ more\ than\b |
	\bINFO:\ trying\ to\ register\ non-static\ key\b |
	\bpage\ allocation\ failure\b | \bBad\ (page|rss)\b |
	\blist_(add|del)\ corruption\b | \brefcount_t:\s |
	\bDEBUG_LOCKS_WARN_ON\b | \bDEADLOCK\b |
	\bhard\ LOCKUP\b | \bworkqueue\ lockup\b |
	\bunreferenced\ object\b | \bpage_table_check\b.*\b(BUG|fail) |
	\bnobody\ cared\b | \bguest-init:\s
""", re.VERBOSE)
FAILURE = "page allocation failure"
KILLED = re.compile(r"\bKilled process (\d+) ")
OF_TASK = re.compile(r"\bCPU: \d+ UID: \d+ PID: (\d+) ")
# Lines after the line of a failure that may name the task
TASK_WITHIN = 2


def is_trouble(lines, i):
    """Return whether a line reports a problem. An allocation failure of a task that the OOM
    killer has killed before is none."""
    if not TROUBLE.search(lines[i]):
        return False
    if FAILURE not in lines[i]:
        return True
    task = next(filter(None, map(OF_TASK.search,
                                 lines[i:i + TASK_WITHIN + 1])), None)
    return not task or not any(m and m[1] == task[1] for m in
                               map(KILLED.search, lines[:i]))
