# SPDX-License-Identifier: GPL-2.0
"""Test samples/nd_pool/kvlog.c with crashes, and mutants of kvlog.c, which lose data.

tools/testing/nd_pool/emulate.c stands for the driver and the medium. If the program is
killed, each line is lost that was not written back before a fence."""

import os
import random
import re
import shutil
import subprocess
import sys
import time
import unittest

from llfree.paths import TOP, linux
from llfree.tests import build_directory

LINUX = linux()
EMULATOR = f"{TOP}/tools/testing/nd_pool"
SAMPLE = f"{TOP}/samples/nd_pool"
CRASHES = int(os.environ.get("CRASHES", "10"))
# Crashes in which a test has to detect a mutant. The most difficult mutant needs 15
# crashes on average, since other crashes miss its few steps.
MUTANT_CRASHES = 200
THREADS = 3
SANITIZER = 99

FREE_OLD = "\tif (old)\n\t\tblock_do(store, ND_POOL_FREE, old);\n"
STORE = "\tpointer_store(pointer, block);\n"
COMMIT = "\tblock_do(store, ND_POOL_COMMIT, block);\n"
UNLOCK = "\tpthread_mutex_unlock(lock);\n"

# {name: (text of kvlog.c, its replacement)}
MUTANTS = {
    "the pointer is not written back":
        ("\twrite_back(pointer, sizeof(*pointer));\n", ""),
    "no fence after the pointer":
        ("\twrite_back(pointer, sizeof(*pointer));\n\tfence();\n",
         "\twrite_back(pointer, sizeof(*pointer));\n"),
    "the entry is not written back":
        ("\twrite_back(entry, offsetof(struct entry, data) + entry->key_size + "
         "entry->value_size);\n", ""),
    "the last line of an entry is not written back":
        ("+ entry->key_size + entry->value_size);\n\n\tpthread",
         "+ entry->key_size + entry->value_size - 64);\n\n\tpthread"),
    "the next pointer is not written back":
        ("\t\twrite_back(&entry->next, sizeof(entry->next));\n", ""),
    "nothing is committed": (COMMIT + STORE, STORE),
    "the pointer comes before the commit": (COMMIT + STORE, STORE + COMMIT),
    "the old block is free before the pointer is gone":
        (STORE + UNLOCK + FREE_OLD, FREE_OLD + STORE + UNLOCK),
    "a removed block is free before the pointer is gone":
        ("\tif (old)\n\t\tpointer_store(pointer, entry_at(store, old)->next);\n"
         + UNLOCK + FREE_OLD,
         "\t__u64 next = old ? entry_at(store, old)->next : 0;\n"
         + FREE_OLD + "\tif (old)\n\t\tpointer_store(pointer, next);\n" + UNLOCK),
    "the old block is not freed": (STORE + UNLOCK + FREE_OLD, STORE + UNLOCK),
}


class Lost(Exception):
    """An error that a check has found"""


class Kvlog:
    """The program kvlog with a separate pool"""

    def __init__(self, directory, program, evict=False):
        self.program = program
        self.log = f"{directory}/durable"
        pool = f"{directory}/pool"
        for path in self.log, pool:
            if os.path.exists(path):
                os.unlink(path)
        subprocess.run([f"{directory}/llpool", "create", "--size", "48M", pool], check=True,
                       stdout=subprocess.DEVNULL)
        found = f"exitcode={SANITIZER}"
        self.env = {**os.environ, "ND_POOL_FILE": pool, "UBSAN_OPTIONS": found,
                    "ASAN_OPTIONS": found + ":detect_leaks=0"}
        if evict:
            self.env["ND_POOL_EVICT"] = "1"
        with open(self.log, "wb"):
            pass

    def argv(self, *args):
        return [self.program, "/dev/null", *args]

    def run(self, *args, status=0):
        ended = subprocess.run(self.argv(*args), env=self.env, capture_output=True,
                               stdin=subprocess.DEVNULL, check=False, text=True, timeout=120)
        if ended.returncode != status:
            raise Lost(f"{args}: status {ended.returncode}\n{ended.stdout}{ended.stderr}")
        return ended.stdout

    def options(self):
        return ["--threads", str(THREADS), "--durable", self.log]

    def crash(self, rng, when):
        """Run hammer until a crash: at a random fence, end of a call, or time."""
        start = os.path.getsize(self.log)
        env = dict(self.env)
        if when != "time":
            env["ND_POOL_CRASH"] = str(rng.randrange(10, 1000))
        if when == "call":
            env["ND_POOL_CALLS"] = "1"
        with open(self.log, "ab") as log:
            with subprocess.Popen(self.argv("hammer", *self.options(), "--seconds", "60"),
                                  env=env, stdout=log, stderr=subprocess.PIPE) as run:
                deadline = time.monotonic() + 60
                while run.poll() is None and time.monotonic() < deadline and (
                        when != "time" or os.path.getsize(self.log) < start + 400):
                    time.sleep(0.002)
                if when == "time":
                    time.sleep(rng.random() / 10)
                run.kill()
                err = run.stderr.read().decode(errors="replace")
        if run.returncode != -9:
            raise Lost(f"hammer: status {run.returncode}\n{err}")

    def clean_run(self):
        with open(self.log, "ab") as log:
            log.write(self.run("hammer", *self.options()).encode())

    def verify(self):
        """Check that all printed operations are there, and at most one more of each thread.
        Return the counts."""
        out = self.run("verify", *self.options(), "--window", "1")
        return {key: int(value) for key, value in re.findall(r"^(\w+): (\d+)$", out, re.M)}


class Crashes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.tmp = build_directory(cls)
        cls.make()

    @classmethod
    def make(cls, *variables):
        subprocess.run(["make", "-s", "-C", EMULATOR, f"O={cls.tmp}", f"LINUX={LINUX}",
                        "CC=gcc", *variables], check=True)

    def test_sample_builds(self):
        subprocess.run(["make", "-s", "-C", SAMPLE, f"O={self.tmp}/plain", "CC=gcc"],
                       check=True, preexec_fn=lambda: os.mkdir(f"{self.tmp}/plain"))

    def test_store(self):
        """The commands, without a crash"""
        store = Kvlog(self.tmp, f"{self.tmp}/kvlog")
        model = {}
        rng = random.Random(1)
        for _ in range(60):
            key, value = f"key{rng.randrange(8)}", "x" * rng.choice((0, 1, 50, 5000))
            if rng.randrange(3):
                store.run("put", key, value)
                model[key] = value
            else:
                store.run("del", key, status=0 if model.pop(key, None) is not None else 1)
        for i in range(8):
            key = f"key{i}"
            if key in model:
                self.assertEqual(store.run("get", key), model[key] + "\n")
            else:
                store.run("get", key, status=1)
        listed = re.findall(r"^(\w+): (\d+) bytes in block", store.run("list"), re.M)
        self.assertEqual({key: int(size) for key, size in listed},
                         {key: len(value) for key, value in model.items()})
        self.assertEqual(store.run("sweep"), "freed: 0\nmissing: 0\n")

    def crashes(self, evict):
        store = Kvlog(self.tmp, f"{self.tmp}/kvlog", evict)
        rng = random.Random(2)
        leaks = 0
        for i in range(CRASHES):
            store.crash(rng, ("time", "fence", "call")[i % 3])
            found = store.verify()
            self.assertGreater(found["entries"], 0)
            leaks += found["leaked"]
        store.clean_run()
        self.assertEqual(store.verify()["leaked"], 0)
        print(f"{leaks} frames leaked ", end="", file=sys.stderr, flush=True)

    def test_crashes(self):
        self.crashes(False)

    def test_crashes_and_evictions(self):
        self.crashes(True)

    def test_found_is_durable(self):
        """hammer prints operations that it finds at the start, even if it prints no others."""
        store = Kvlog(self.tmp, f"{self.tmp}/kvlog")
        store.clean_run()
        states = re.findall(r"^thread (\d+): (\d+)$", store.run("verify", *store.options()),
                            re.M)
        self.assertEqual(len(states), THREADS)
        out = store.run("hammer", "--threads", str(THREADS), "--seconds", "0",
                        "--report", "1000000000")
        self.assertEqual(re.findall(r"^durable (\d+) (\d+)$", out, re.M), states)

    def test_lost_frames(self):
        """verify detects that frames of an entry are free or have another owner."""
        store = Kvlog(self.tmp, f"{self.tmp}/kvlog")
        store.run("put", "key", "value")
        block = re.search(r"in block (\w+)", store.run("list")).group(1)
        subprocess.run([f"{self.tmp}/llpool", "free", "/dev/null", block], check=True,
                       env=store.env)
        with self.assertRaisesRegex(Lost, "is not committed"):
            store.verify()

    def test_mutants(self):
        with open(f"{SAMPLE}/kvlog.c", encoding="utf-8") as f:
            source = f.read()
        where = f"{self.tmp}/mutant"
        for name, (old, new) in MUTANTS.items():
            with self.subTest(name):
                self.assertIn(old, source)
                shutil.rmtree(where, ignore_errors=True)
                shutil.copytree(SAMPLE, where)
                with open(f"{where}/kvlog.c", "w", encoding="utf-8") as f:
                    f.write(source.replace(old, new, 1))
                os.mkdir(f"{where}/out")
                for program in "driver.o", "llpool":
                    shutil.copy2(f"{self.tmp}/{program}", f"{where}/out")
                subprocess.run(["make", "-s", "-C", EMULATOR, f"O={where}/out",
                                f"LINUX={LINUX}", "CC=gcc", f"KVLOG={where}"], check=True)
                self.noticed(f"{where}/out")

    def noticed(self, directory):
        rng = random.Random(3)
        store = Kvlog(directory, f"{directory}/kvlog", evict=True)
        try:
            store.clean_run()
            if store.verify()["leaked"]:
                raise Lost("leaked without a crash")
            for i in range(MUTANT_CRASHES):
                store.crash(rng, ("fence", "call")[i % 2])
                store.verify()
        except Lost:
            return
        self.fail("not noticed")
