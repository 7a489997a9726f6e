# SPDX-License-Identifier: GPL-2.0
"""Run the kernel's own mm selftests with both allocators and compare the results.

Builds tools/testing/selftests/mm of build/linux in build/selftests. Each
category of run_vmtests.sh runs in a separate guest, first with buddy, then with
LLFree. No category of run_vmtests.sh adds or removes memory. Category kunit has the
KUnit suites that the kernel ships for memory management.

The table has a row for each test, for each category's guest, and for each subtest
whose results differ. A guest passes if it ends in time and the kernel reports no
problem. '!' marks a row that passes on buddy and does not pass on LLFree; '~' marks
such a row if scripts/llfree/selftests-flaky.txt names the test. The exit status is 1
if a row has a '!'.

The last line counts rows. Passed: passes on LLFree. Failed: has a '!'. Skipped:
all others. A skipped row says nothing about LLFree, since the test does not pass on
buddy or is flaky. With --alloc nothing is compared, and each FAIL counts as failed."""

import collections
import concurrent.futures
import os
import re
import shlex
import subprocess
import sys
import time

from llfree import paths, program, vm
from llfree.paths import BUILD, SCRIPTS
from llfree.program import ALLOCATORS, Error, make_env, read, read_text, say
from llfree.vm.arguments import EXIT_GUEST, EXIT_KERNEL, EXIT_TIMEOUT

FLAKY = f"{SCRIPTS}/llfree/selftests-flaky.txt"
PASS, FAIL, SKIP, NONE = "pass", "FAIL", "skip", "-"
KUNIT = "kunit"
# Results of suites are in debugfs.
COMMANDS = {KUNIT: ["sh", "-c", "cat /sys/kernel/debug/kunit/*/results"]}
# Options of scripts/vm that a category needs. The suites of KFENCE make KFENCE report faults.
OPTIONS = {"ksm_numa": ["--numa", "2"], "migration": ["--numa", "2"],
           "mremap": ["--mem", "6G"],
           KUNIT: ["--append", "kunit.enable=1", "--expect", "BUG: KFENCE: "]}
# Exit statuses of scripts/vm itself, which are not the command's
ENDS = {EXIT_TIMEOUT: "timeout", EXIT_KERNEL: "the kernel reported a problem",
        EXIT_GUEST: "the guest died"}
# In some releases of 6.12.y, khugepaged.c lacks the header with this constant.
CFLAGS = "-DKSFT_SKIP=4"

Run = collections.namedtuple("Run", "results status seconds")
Row = collections.namedtuple("Row", "name buddy llfree mark")


# --- the output of run_vmtests.sh ---

RESULT = re.compile(r"(?P<sub># )?(?P<bad>not )?ok (?P<number>\d+)"
                    r"(?:\s+-)?\s*(?P<name>.*?)"
                    r"(?:\s+# (?P<what>SKIP|XFAIL|TODO|exit=\d+)\b.*)?\s*$")
# Addresses and process IDs differ from run to run.
VOLATILE = re.compile(r"\b0x[0-9a-f]+\b|\b[0-9a-f]{8,}\b|\bpid:? \d+")


def result_of(match):
    if match["what"] == "SKIP":
        return SKIP
    if match["bad"] and match["what"] not in ("XFAIL", "TODO"):
        return FAIL
    return PASS


def test_name(text):
    """Return the name that run_vmtests.sh gives a command in its results."""
    return re.sub(r"^(bash )?\./", "", text)


def parse(text):
    """Return {test: result} in order, with subtests as "test: subtest".

    In the text, a program's result follows the results of its subtests. A program
    without a result was running when the guest ended, and has failed."""
    found = {}
    running, subtests = None, {}

    def add(name, result):
        base, nth = name, 1
        while name in found:
            nth += 1
            name = f"{base} ({nth})"
        found[name] = result
        return name

    def end(name, result):
        whole = add(name, result)
        for sub, its_result in subtests.items():
            add(f"{whole}: {sub}", its_result)
        subtests.clear()

    # Cases of a KUnit suite are indented.
    text = re.sub(r"^    (?=(?:not )?ok )", "# ", text, flags=re.M)
    for line in text.splitlines():
        begin = re.match(r"# running (.+)$", line)
        if begin:
            if running:
                end(running, FAIL)
            running = test_name(begin[1])
            continue
        m = RESULT.match(line)
        if not m:
            continue
        if m["sub"]:
            base = VOLATILE.sub("*", m["name"]) or f"number {m['number']}"
            name, nth = base, 1
            while name in subtests:
                nth += 1
                name = f"{base} ({nth})"
            subtests[name] = result_of(m)
        else:
            end(m["name"], result_of(m))
            running = None
    if running:
        end(running, FAIL)
    return found


def read_flaky(text):
    """Return {test: reason} of a list with lines "NAME # REASON"."""
    known = {}
    for number, line in enumerate(text.splitlines(), 1):
        if not line.strip() or line.startswith("#"):
            continue
        name, _, reason = map(str.strip, line.partition(" # "))
        if not name or not reason or name in known:
            raise Error(f"selftests-flaky.txt:{number}: no test, no reason, "
                           "or named before")
        known[name] = reason
    return known


# --- the comparison ---

def compare(buddy, llfree, known):
    """Return rows for two {test: result}; None stands for an allocator that did not run."""
    both = buddy is not None and llfree is not None
    rows = []
    for name in [*(buddy or {}), *(n for n in llfree or {}
                                   if n not in (buddy or {}))]:
        one = (buddy or {}).get(name, NONE)
        two = (llfree or {}).get(name, NONE)
        base, is_subtest, _ = name.partition(": ")
        if is_subtest:
            if one == two or not both or one == NONE:
                continue
            # A missing subtest needs no row if the program's row differs: the
            # program passes on buddy, and has ended early on LLFree.
            if two == NONE and (one != PASS or buddy[base] != FAIL):
                continue
        mark = ""
        if both and one == PASS != two:
            mark = "~" if name in known or base in known else "!"
        elif not both and FAIL in (one, two):
            mark = "~" if name in known else "!"
        rows.append(Row(name, one, two, mark))
    return rows


def counts(rows, alloc=None):
    """Return (passed, failed, skipped)."""
    failed = sum(row.mark == "!" for row in rows)
    passed = sum(getattr(row, alloc or "llfree") == PASS for row in rows)
    return passed, failed, len(rows) - passed - failed


def show(rows, known, out=print):
    width = max([len("test"), *(len(row.name) for row in rows)])
    out(f"  {'test':{width}}  buddy  llfree")
    for row in rows:
        out(f"{row.mark:1} {row.name:{width}}  {row.buddy:5}  {row.llfree}")
    for row in rows:
        reason = known.get(row.name) or known.get(row.name.partition(": ")[0])
        if reason and row.mark == "~":
            out(f"~ {row.name}: {reason}")


# --- building and running ---

def make(log, *argv):
    argv = ["make", *argv]
    with open(log, "a", encoding="utf-8") as f:
        f.write(f"$ {shlex.join(argv)}\n")
        f.flush()
        status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=f,
                                stderr=subprocess.STDOUT, check=False,
                                env=make_env()).returncode
    if status:
        text = read_text(log, "")
        for line in re.findall(r"^.*(?:error:|Error \d).*$", text, re.M)[:20]:
            print(line, file=sys.stderr)
        raise Error(f"the build of the selftests failed, see {log}")


def build(linux, out):
    """Build and install the tests. Return the directory with run_vmtests.sh."""
    os.makedirs(out, exist_ok=True)
    log = f"{out}/build.log"
    open(log, "w", encoding="utf-8").close()
    # The last build found no liburing, which may be installed now.
    local = f"{linux}/tools/testing/selftests/mm/local_config"
    if b"-luring" not in read(f"{local}.mk", b"-luring"):
        os.unlink(f"{local}.mk")
        os.unlink(f"{local}.h")
    say(f"building the mm selftests in {out}")
    make(log, "-C", linux, f"O={out}", "headers")
    make(log, "-k", "-C", f"{linux}/tools/testing/selftests", "TARGETS=mm",
         "INSTALL_DEP_TARGETS=", f"O={out}", f"KSFT_INSTALL_PATH={out}/install",
         f"EXTRA_CFLAGS={CFLAGS}", "FORCE_TARGETS=1", "install")
    return f"{out}/install/mm"


def categories(linux):
    script = read(f"{linux}/tools/testing/selftests/mm/run_vmtests.sh")
    if script is None:
        raise Error(f"no mm selftests in {linux}: run scripts/prepare")
    return [*dict.fromkeys(re.findall(r'\bCATEGORY="(\w+)"', script.decode())),
            KUNIT]


def guest(args, directory, category, alloc):
    """Run a category in a guest with an allocator."""
    log = f"{args.out}/{category}.{alloc}"
    argv = vm.command(
        args.kernel, COMMANDS.get(category, ["./run_vmtests.sh", "-t", category]),
        "--mem", args.mem, "--smp", str(args.smp), "--log", f"{log}.kernel.log",
        "--cwd", directory, "--patient", *OPTIONS.get(category, ()),
        alloc=alloc, timeout=args.timeout)
    start = time.monotonic()
    with open(f"{log}.log", "w", encoding="utf-8") as f:
        f.write(f"$ {shlex.join(argv)}\n")
        f.flush()
        status = subprocess.run(argv, stdin=subprocess.DEVNULL, stdout=f,
                                stderr=subprocess.STDOUT,
                                check=False).returncode
    text = read_text(f"{log}.log", "")
    results = parse(text)
    # The status of run_vmtests.sh does not count; the results of its tests do.
    results[f"guest of {category}"] = FAIL if status in ENDS or not results \
        else PASS
    return Run(results, status, time.monotonic() - start)


def run(args, directory, names):
    """Run categories with each allocator. Return {(category, allocator): Run}."""
    jobs = [(name, alloc) for name in names for alloc in args.allocators]
    runs = {}
    with concurrent.futures.ThreadPoolExecutor(args.jobs) as pool:
        done = pool.map(lambda job: guest(args, directory, *job), jobs)
        for (name, alloc), ended in zip(jobs, done):
            runs[name, alloc] = ended
            programs = [r for n, r in ended.results.items()
                        if ": " not in n and not n.startswith("guest of ")]
            note = ENDS.get(ended.status, "")
            print(f"  {name:16} {alloc:7} {ended.seconds:6.0f} s  "
                  f"{programs.count(PASS)} pass, {programs.count(FAIL)} fail, "
                  f"{programs.count(SKIP)} skip{note and f' ({note})'}",
                  flush=True)
    return runs


def report(args, runs, names, known):
    merged = {alloc: {} for alloc in args.allocators}
    for name in names:
        for alloc, results in merged.items():
            results.update(runs[name, alloc].results)
    rows = compare(merged.get("buddy"), merged.get("llfree"), known)
    show(rows, known)
    for row in rows:
        if row.mark == "!":
            category = next(name for name in names for alloc in args.allocators
                            if row.name in runs[name, alloc].results)
            logs = " ".join(f"{args.out}/{category}.{alloc}.log"
                            for alloc in args.allocators)
            print(f"! {row.name}: {logs}")
    passed, failed, skipped = counts(
        rows, args.alloc if len(args.allocators) == 1 else None)
    print(f"{passed} passed, {failed} failed, {skipped} skipped")
    return int(bool(failed or not passed))


def main():
    p = program.parser(__doc__)
    program.add_kernel(p, f"{BUILD}/x86_64-selftests")
    p.add_argument("--linux", metavar="DIR", default=paths.linux(),
                   help="kernel source with the tests (default: build/linux)")
    p.add_argument("--out", metavar="DIR", default=f"{BUILD}/selftests",
                   help="programs and logs (default: build/selftests)")
    p.add_argument("--alloc", choices=ALLOCATORS,
                   help="this allocator only, without a comparison")
    p.add_argument("--category", "-t", metavar="NAME", action="append",
                   default=[], help="this category (default: all)")
    p.add_argument("--list", action="store_true", help="print the categories")
    p.add_argument("--timeout", metavar="S", type=int, default=1800,
                   help="kill a category's guest after S seconds (default: 1800)")
    p.add_argument("--mem", metavar="SIZE", default="2G",
                   help="memory of a guest (default: 2G)")
    p.add_argument("--smp", metavar="N", type=int, default=2,
                   help="CPUs of a guest (default: 2)")
    p.add_argument("--jobs", "-j", metavar="N", type=int, default=1,
                   help="guests at a time (default: 1)")
    args = p.parse_args()
    args.linux, args.out = map(os.path.abspath, (args.linux, args.out))
    every = categories(args.linux)
    if args.list:
        print("\n".join(every))
        return 0
    for name in args.category:
        if name not in every:
            p.error(f"no category '{name}'; there are: {' '.join(every)}")
    known = read_flaky(read_text(FLAKY, ""))
    args.allocators = (args.alloc,) if args.alloc else ALLOCATORS
    directory = build(args.linux, args.out)
    names = list(dict.fromkeys(args.category)) or every
    return report(args, run(args, directory, names), names, known)
