# SPDX-License-Identifier: GPL-2.0
"""Helpers that programs share: arguments, messages, errors, files, environment"""

import argparse
import fcntl
import os
import signal
import sys

from llfree.paths import BUILD, KERNEL

ALLOCATORS = ("buddy", "llfree")


class Error(Exception):
    """An error that the user has to resolve; the text is the message"""


class Stopped(Exception):
    """A signal that ends the program"""


def run(function):
    """Run a program's main function and exit. Print no traceback for Error."""
    try:
        sys.exit(function())
    except Error as e:
        sys.exit(f"{os.path.basename(sys.argv[0])}: {e}")
    except KeyboardInterrupt:
        sys.exit(130)


def say(text):
    """Print a line about progress."""
    print(f"  {text}", flush=True)


def raise_stopped(*signums):
    """Let these signals raise Stopped."""
    def stop(signum, _):
        raise Stopped(signal.Signals(signum).name)
    for signum in signums:
        signal.signal(signum, stop)


def exit_on_term():
    """Let SIGTERM end the program by an exception, so that the program can end children."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))


# --- arguments ---

def parser(doc, **options):
    return argparse.ArgumentParser(
        description=doc, **{"formatter_class": argparse.RawDescriptionHelpFormatter, **options})


def add_kernel(p, default=KERNEL):
    p.add_argument("--kernel", metavar="DIR", default=default,
                   help=f"build directory (default: build/{os.path.basename(default)})")


def add_alloc(p):
    p.add_argument("--alloc", choices=ALLOCATORS,
                   help="boot with page_alloc=... (default: the kernel's)")


def add_build(p):
    p.add_argument("--build", metavar="DIR",
                   help="instead of build/ (or BUILD= in the environment)")


def build_dir(given=None):
    return os.path.abspath(given or os.environ.get("BUILD") or BUILD)


# --- files and environment ---

def read(name, default=None):
    try:
        with open(name, "rb") as f:
            return f.read()
    except (FileNotFoundError, NotADirectoryError):
        return default


def read_text(name, default=None):
    """Return the text of a file, in which some bytes may not be UTF-8."""
    data = read(name)
    return default if data is None else data.decode(errors="replace")


def write_text(name, text):
    """Write a file that has either the old or the new content at all times."""
    with open(f"{name}.new", "w", encoding="utf-8") as f:
        f.write(text)
    os.replace(f"{name}.new", name)


def make_env(*more):
    """Return the environment without the variables of a calling make, and without more."""
    drop = {"MAKEFLAGS", "MFLAGS", "MAKELEVEL", "MAKEOVERRIDES", "ARCH", "CROSS_COMPILE",
            "KBUILD_OUTPUT", "KCONFIG_CONFIG", *more}
    return {k: v for k, v in os.environ.items() if k not in drop}


def only_one(path):
    """Open and lock a file. Raise Error if another program holds the lock."""
    lock = open(path, "w", encoding="utf-8")
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        raise Error("another one is running") from None
    return lock
