# SPDX-License-Identifier: GPL-2.0
"""Steps of make test that do not run scripts/vm directly"""

import concurrent.futures
import glob
import os
import re
import time

from llfree import paths
from llfree.kernel import patches
from llfree.paths import BUILD, LINUX, TOP
from llfree.program import read
from llfree.testing.count import Count, ktap, kunit_count
from llfree.testing.run import LOGS, command, report, run


UNIT_TESTS = f"{paths.SCRIPTS}/llfree/tests"


def unittest_count(text):
    """Return the counts in the output of Python's unittest, or None if it ran no test."""
    ran = re.search(r"^Ran (\d+) tests? in ", text, re.M)
    if not ran:
        return None
    failed, skipped = (sum(map(int, re.findall(rf"\b(?:{words})=(\d+)", text.splitlines()[-1])))
                       for words in ("failures|errors", "skipped"))
    return Count(int(ran[1]) - failed - skipped, failed, skipped)


def unit_tests(name, where, pattern, timeout, python="python3"):
    """Run the unit tests in files of a directory whose names match the pattern."""
    command(name, [python, "-B", "-m", "unittest", "discover", "-v", "-t", paths.SCRIPTS,
                   "-s", where, "-p", pattern], timeout, unittest_count)


def step_scripts():
    """unit tests of the scripts, and help on a bare clone; no guest"""
    names = sorted(glob.glob("test_*.py", root_dir=UNIT_TESTS))
    if not names:
        report("scripts", Count(0, 1, 0), 0, note=" (no unit tests)")
    for name in names:
        unit_tests(f"scripts {name[5:-3]}", UNIT_TESTS, name, 120)


def draw_tests(name, pattern, timeout):
    """Run unit tests that need more packages. Debian has these for /usr/bin/python3."""
    if command(f"packages for {name}", ["scripts/deps", name], 1800):
        unit_tests(name, f"{UNIT_TESTS}/figures", pattern, timeout, "/usr/bin/python3")


def step_figures():
    """figures and the page of results, drawn from a small stored result; histograms"""
    # All but test_browser.py
    draw_tests("figures", "test_[!b]*.py", 300)


def step_browser():
    """the page of results in headless Chromium"""
    draw_tests("browser", "test_browser.py", 600)


# docutils does not know roles and directives of Sphinx and of the kernel's documents.
SPHINX = re.compile(r'Unknown interpreted text role "(doc|ref|c:\w+)"|'
                    r'No role entry for "(doc|ref|c:\w+)"|'
                    r'(Unknown directive type|No directive entry for) "(kernel-doc|toctree)"')


def documents(paths_):
    """Check documents with docutils. Report a failure for each document with a problem."""
    for path in paths_:
        log = f"{LOGS}/style-{path.replace('/', '_')}.log"
        start = time.monotonic()
        status = run(log, ["/usr/bin/python3", "-m", "docutils", "--report=2",
                           "--exit-status=5", path, "/dev/null"], 60)
        bad = status or any(re.search(r":\d+: \((WARNING|ERROR|SEVERE)/", line) and
                            not SPHINX.search(line)
                            for line in read(log).decode().splitlines())
        report(f"docutils {path}", Count(int(not bad), int(bool(bad)), 0),
               time.monotonic() - start, log)


def programs():
    """Return (shell programs, Python files) of the repository."""
    shell, python = [], []
    for path in sorted(glob.glob("scripts/**", root_dir=TOP, recursive=True) +
                       glob.glob("tools/testing/llfree/*", root_dir=TOP) + [".ci/run"]):
        if os.path.isdir(f"{TOP}/{path}"):
            continue
        first = read(f"{TOP}/{path}").split(b"\n", 1)[0]
        if re.match(rb"#!.*\b(ba)?sh\b", first):
            shell.append(path)
        elif path.endswith(".py") or re.match(rb"#!.*python3", first):
            python.append(path)
    return shell, python


def step_style():
    """spelling, shell and Python programs, documents"""
    if not command("packages for style", ["scripts/deps", "style"], 1800):
        return
    shell, python = programs()
    command("codespell", ["codespell", "--skip=./build,./.git,*.csv,*.svg,./*/corpus",
                          "--ignore-words-list=nd,damon,extraversion", "-q", "3"])
    command("shellcheck", ["shellcheck", "--severity=warning", *shell])
    command("pylint", ["/usr/bin/pylint", "--rcfile=scripts/pylintrc", "--jobs=0",
                       "--score=no", *python], 900)
    sources = [f for f in patches.overlay_files() if f.endswith((".c", ".h"))]
    command("kernel-doc", ["perl", f"{LINUX}/scripts/kernel-doc", "-none", "-Wall", "-Werror",
                           *sources])
    documents(sorted(glob.glob("Documentation/**/*.rst", root_dir=TOP, recursive=True)))


def step_series():
    """the patches apply, and the mails give the same tree"""
    command("series", ["scripts/series"])


def step_each_patch():
    """the kernel after each patch builds and boots, as in a bisection"""
    if command("series for each patch", ["scripts/series"]):
        command("each patch", ["scripts/each-patch"], 5 * 3600, ktap)


def shorter_mail(mail, known):
    """Write a mail without the diffs of known files, but with at least one diff, and return
    its path."""
    head, *diffs = re.split(r"^(?=diff --git )", read(mail).decode(), flags=re.M)
    kept = [d for d in diffs
            if d.split()[2].removeprefix("a/") not in known]
    os.makedirs(f"{LOGS}/mails", exist_ok=True)
    path = f"{LOGS}/mails/{os.path.basename(mail)}"
    with open(path, "w", encoding="utf-8") as f:
        f.write(head + "".join(kept or [min(diffs, key=len)]))
    return path


# checkpatch takes the name "mm/Kconfig.llfree" in mm/Kconfig for the file's own name.
FALSE_POSITIVES = {"mm-make-LLFree-an-option.patch":
                   ["--ignore=EMBEDDED_FILENAME"]}


def step_checkpatch():
    """checkpatch --strict on every new file and every mail of the series"""
    files = [f for f in patches.overlay_files()
             if not f.endswith((".gitignore", ".kunitconfig"))]
    mails = [m for m in sorted(glob.glob(f"{BUILD}/series/*/*.patch"))
             if not os.path.basename(m).startswith("0000-")]
    if not files or not mails:
        report("checkpatch", Count(0, 1, 0), 0,
               note=" (no overlay files, or no mails: step series)")
        return

    def check(job):
        name, extra = job
        log = f"{LOGS}/checkpatch-{name.replace('/', '_')}.log"
        start = time.monotonic()
        status = run(log, [
            "perl", "scripts/checkpatch.pl", "--root=.", "--strict",
            "--no-summary", "--show-types",
            # The sender of a mail adds the Signed-off-by line. MAINTAINERS has whole
            # directories. checkpatch takes programs without a suffix for sources.
            "--ignore=MISSING_SIGN_OFF,FILE_PATH_CHANGES,EXECUTE_PERMISSIONS",
            *extra], 300, LINUX)
        return name, status, time.monotonic() - start, log

    jobs = [(f, ["-f", f"{TOP}/{f}"]) for f in files]
    # New files are checked as files, so mails are checked without their diffs.
    jobs += [(os.path.basename(m),
              [*FALSE_POSITIVES.get(os.path.basename(m)[5:], ()),
               shorter_mail(m, set(files))]) for m in mails]
    with concurrent.futures.ThreadPoolExecutor(os.cpu_count()) as pool:
        for name, status, seconds, log in pool.map(check, jobs):
            report(f"checkpatch {name}",
                   Count(int(not status), int(bool(status)), 0), seconds, log)


def core(name, target, timeout):
    """Make a target of the core in userspace, and count the results."""
    command(name, ["make", "-C", "tools/testing/llfree", target, f"LINUX={LINUX}"], timeout,
            ktap)


def step_user():
    """the unmodified core in userspace: unit, model, sanitizers, stress"""
    core("user", "check", 1800)


def step_cost():
    """instructions per operation of the core, against limits"""
    core("cost", "check-cost", 900)


def step_model():
    """exhaustive interleavings, weak memory, litmus tests of the core"""
    core("model", "check-interleave", 3600)


def step_mutants():
    """mutation tests: step model has to detect each injected fault"""
    core("mutants", "mutants", 3600)


def step_text():
    """the kernel's code without CONFIG_LLFREE is that of the unpatched kernel"""
    command("text", ["scripts/check-text"], 2400)


def step_um():
    """KUnit in User Mode Linux"""
    command("um", ["scripts/kunit", "um"], 2400, kunit_count)


def step_kunit():
    """KUnit in QEMU"""
    command("kunit", ["scripts/kunit", "x86_64"], 2400, kunit_count)
