# SPDX-License-Identifier: GPL-2.0
"""Test how scripts/bench plans and starts guests, without booting a guest."""

import argparse
import collections
import contextlib
import io
import re
import sys
import tempfile
import time
import unittest
from unittest import mock

from llfree.bench import arguments, guests, main, plan, progress
from llfree.bench import stats as stat
from llfree.bench.results import Results, report
from llfree.paths import GUEST
from llfree.program import read_text


def parsed(*argv):
    """Return the arguments that main() parses from a command line."""
    found = []
    with mock.patch.object(sys, "argv", ["bench", *argv]), \
         mock.patch.object(main, "measure", found.append), \
         mock.patch.object(main.signal, "signal"):
        main.main()
    return found[0]


def refused(*argv):
    said = io.StringIO()
    with contextlib.redirect_stderr(said):
        try:
            parsed(*argv)
        except SystemExit as e:
            return e.code == 2 and said.getvalue()
    return None


class Arguments(unittest.TestCase):
    def test_lists(self):
        self.assertEqual(parsed("--order", "0,3,8-10").order, [0, 3, 8, 9, 10])
        self.assertEqual(parsed("--bench", "fill,bulk").bench, ["bulk", "fill"])

    def test_quick(self):
        args = parsed("--quick")
        self.assertEqual((args.order, args.cpus, args.pairs, args.real),
                         ([0, 3, 9], [1, 2], 3, ["page_fault1"]))

    def test_bad(self):
        for argv, why in ((("--order", "11"), "0 to 10"),
                          (("--order", "x"), "no list"),
                          (("--bench", "bulk,none"), "no 'none'"),
                          (("--um", "--cpus", "2"), "one CPU"),
                          (("--um", "--count"), "for QEMU"),
                          (("--count", "--cpus", "2"), "one CPU"),
                          (("--limits", "/nowhere"), "no file"),
                          (("--no-module", "--no-real"), "nothing left")):
            with self.subTest(argv=argv):
                self.assertIn(why, refused(*argv) or "")


class Plan(unittest.TestCase):
    def test_pairs_alternate(self):
        boots = plan.plan_boots(parsed("--pairs", "3", "--bench", "bulk",
                                        "--order", "0", "--cpus", "1"))
        kinds = collections.defaultdict(list)
        for boot in boots:
            kinds[bool(boot.real)].append((boot.pair, boot.alloc))
        order = [(0, "buddy"), (0, "llfree"), (1, "llfree"), (1, "buddy"),
                 (2, "buddy"), (2, "llfree")]
        # Memory that programs have used is not measured by the module.
        self.assertEqual(dict(kinds), {False: order, True: order})
        self.assertEqual([b.number for b in boots], list(range(12)))

    def test_all_loads_of_realwork_are_in_it(self):
        loads = read_text(f"{GUEST}/realwork").partition("LOADS = {")[2].partition("}")[0]
        self.assertEqual(re.findall(r'"([^"]+)":', loads), list(plan.REAL))

    def test_all_benchmarks_are_in_it(self):
        cells = plan.matrix(parsed("--cpus", "1,2"))
        found = {plan.bench_name(c) for c in cells}
        self.assertEqual(found, set(stat.BENCHES))
        bulk = {(c["order"], c["cpus"]) for c in cells if c["bench"] == "bulk"}
        self.assertEqual(bulk, {(o, f"0-{n - 1}") for o in range(11)
                                for n in (1, 2)})

    def test_raw_is_no_key_of_the_module(self):
        (cell,) = plan.matrix(parsed("--bench", "frag-raw"))
        self.assertEqual((cell["bench"], cell["raw"], cell["rounds"]),
                         ("frag", True, 100))


class Guests(unittest.TestCase):
    def argv(self, *argv):
        args = parsed(*argv)
        boot = plan.plan_boots(args)[0]
        with tempfile.TemporaryDirectory() as tmp, \
             mock.patch.object(plan, "WORK", tmp):
            boot.write_plan(tmp)
            return boot.argv(args)

    def test_timed(self):
        """Timed guests have preallocated memory, else times include the host's faults."""
        argv = self.argv("--no-real", "--bench", "bulk", "--cpus", "1,2")
        self.assertIn("--prealloc", argv)
        self.assertNotIn("--icount", argv)
        self.assertEqual(argv[argv.index("--smp") + 1], "2")

    def test_counted(self):
        argv = self.argv("--count")
        self.assertIn("--icount", argv)
        self.assertNotIn("--prealloc", argv)


class Fake:
    """A guest that records calls, and dies before a cell"""

    def __init__(self, name, events, cells=3, dies=99):
        self.name = name
        self.events = events
        self.boot = argparse.Namespace(todo=["cell"] * cells)
        self.dies = dies
        self.stands = False

    def start(self):
        self.events.append(f"{self.name} starts")
        return True

    def reach(self, position):
        assert not self.stands
        self.events.append(f"{self.name}{position}")
        return position < self.dies

    def stand(self):
        self.stands = True

    def go_on(self):
        self.stands = False

    def finish(self):
        self.events.append(f"{self.name} ends")
        return self.dies == 99

    def close(self):
        self.events.append(f"{self.name} closed")


class Turns(unittest.TestCase):
    def run_fakes(self, *fakes):
        """Run guests, and check that only one guest runs at a time.

        Return (success, events)."""
        events = []
        found = [Fake(events=events, **f) for f in fakes]
        for fake in found:
            fake.reach = self.alone(fake, found)
        good = guests.run_guests(found)
        return good, events

    def alone(self, fake, all_of_them):
        reach = fake.reach

        def check(position):
            self.assertTrue(all(f.stands for f in all_of_them
                                if f is not fake and position < f.dies))
            return reach(position)
        return check

    def test_pair(self):
        good, events = self.run_fakes({"name": "a"}, {"name": "b"})
        self.assertTrue(good)
        self.assertEqual(events, ["a starts", "b starts", "a1", "b1", "b2", "a2",
                                  "a3", "b3", "a ends", "b ends", "a closed",
                                  "b closed"])

    def test_one_dies(self):
        good, events = self.run_fakes({"name": "a", "dies": 2}, {"name": "b"})
        self.assertFalse(good)
        self.assertEqual([e for e in events if " " not in e],
                         ["a1", "b1", "b2", "a2", "b3"])

    def test_groups(self):
        def sizes(*argv):
            args = parsed("--pairs", "2", *argv)
            return [[b.alloc for b in g]
                    for g in plan.groups(plan.plan_boots(args), args)]
        self.assertEqual(sizes("--no-real"),
                         [["buddy", "llfree"], ["llfree", "buddy"]])
        for argv in (("--um",), ("--count",), ("--no-real", "--one-by-one")):
            with self.subTest(argv=argv):
                self.assertEqual({len(g) for g in sizes(*argv)}, {1})

    GUEST = """
import json, signal, time
signal.signal(signal.SIGUSR1, lambda *_: print("stands", flush=True))
signal.signal(signal.SIGUSR2, lambda *_: print("goes on", flush=True))
print(json.dumps({"kernel": "6.12"}), flush=True)
time.sleep(0.5)
for cell in range(2):
    print(json.dumps({"cell": cell, "error": None, "seconds": 1, "cpus": 1,
                      "vmstat": {}, "measures": {"ns": [1, 2]}}), flush=True)
"""

    def test_signals(self):
        args = parsed("--no-module", "--real", "build,malloc")
        boot = plan.plan_boots(args)[0]
        results = Results({"machine": "TCG"})
        with tempfile.TemporaryDirectory() as tmp, \
             mock.patch.object(plan, "WORK", tmp), \
             mock.patch.object(boot, "argv", lambda _: [
                 sys.executable, "-c", self.GUEST]), \
             contextlib.redirect_stderr(io.StringIO()):
            args.out = tmp
            guest = guests.Guest(boot, args, results, progress.Progress([boot]))
            self.assertTrue(guest.start())
            guest.stand()
            guest.stand()
            time.sleep(0.1)
            guest.go_on()
            self.assertTrue(guest.reach(1))
            log = guest.log.name
            guest.log.flush()
            with open(log, encoding="utf-8") as f:
                self.assertEqual(f.read(), "stands\ngoes on\n")
            self.assertTrue(guest.finish())
        self.assertEqual([v["bench"] for v in results.values],
                         ["build", "malloc"])


class Records(unittest.TestCase):
    RECORD = {"cell": 0, "error": None, "cpus": 4, "vmstat": {"pgfault": 7},
              "measures": {"huge_ns": [20, 5e6], "missed_permille": [20, 250.0]}}

    def results(self):
        found = Results({"machine": "TCG", "date": "", "host": "", "smp": 4,
                               "host_cpus": 4, "mem": 1, "quick": False})
        for number, alloc in enumerate(stat.ALLOCS):
            boot = plan.Boot(number, 0, alloc, [], ["thp"])
            record = dict(self.RECORD)
            if alloc == "llfree":
                record["measures"] = {"huge_ns": [20, 5e6],
                                      "missed_permille": [20, 50.0]}
            found.add(boot, record)
        return found

    def test_missed_huge_pages(self):
        found = stat.compare(self.results().values)
        ratios = {key.measure: c.ratio for key, c in found.items()}
        self.assertEqual(ratios, {"huge_ns": 1.0, "missed_permille": 0.2})
        self.assertRegex(report(self.results()),
                         r"thp +missed_permille +4 +250 .* 50 .* 0\.20")

    def test_failed(self):
        found = self.results()
        boot = plan.Boot(2, 1, "buddy", [], ["thp"])
        found.add(boot, {"cell": 0, "error": "no huge page in all that time"})
        self.assertEqual(len(found.values), 4)
        self.assertIn("thp: no huge page in all that time (buddy 2)",
                      report(found))

    def test_saved(self):
        with tempfile.TemporaryDirectory() as tmp:
            self.results().save(tmp)
            again = Results.load(f"{tmp}/results.json")
            self.assertEqual(again.data, self.results().data)
            with open(f"{tmp}/results.csv", encoding="utf-8") as f:
                self.assertEqual(len(f.readlines()), 5)


class Lists(unittest.TestCase):
    def test_int_list(self):
        parse = arguments.int_list(0, 10)
        self.assertEqual(parse("3-5,1"), [1, 3, 4, 5])
        for text in ("", "-1", "5-3", "1,,2", "11"):
            with self.subTest(text=text), \
                 self.assertRaises(argparse.ArgumentTypeError):
                parse(text)
