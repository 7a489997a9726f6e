# SPDX-License-Identifier: GPL-2.0
"""Test recorded traces: loads, lifetimes, histograms, replay, model of aged memory."""

import contextlib
import csv
import io
import json
import os
import re
import subprocess
import sys
import tempfile
import unittest
from unittest import mock

import numpy

from llfree.memmap import maps
from llfree.paths import TOP
from llfree.program import Error, read_text
from llfree.traces import age, build, data, figures, histograms, loads, replay
from llfree.traces.loads import LOADS

# time in ns, frame, kind of event, order, migratetype, CPU
EVENTS = [(0, 8, data.ALLOC, 0, 1, 0), (1000, 16, data.ALLOC, 2, 0, 1),
          (1500, 16, data.ZONE_ALLOC, 2, 0, 1), (2000, 8, data.FREE, 0, 0, 1),
          (3000, 8, data.ALLOC, 0, 2, 0), (5000, 16, data.FREE, 2, 0, 0),
          (9000, 8, data.FREE, 0, 0, 0), (9100, 64, data.FREE, 0, 0, 0),
          (9200, 8, data.ALLOC, 9, 1, 0)]


class Traces(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = f"{tmp.name}/load-1G-llfree"
        os.mkdir(self.dir)
        self.write(EVENTS)

    def write(self, events, **counts):
        numpy.array(events, data.RECORD).tofile(f"{self.dir}/records")
        kinds = [event[2] for event in events]
        names = ("alloc", "free", "zone_alloc", "zone_free")
        with open(f"{self.dir}/meta.json", "w", encoding="utf-8") as f:
            json.dump({"load": "load", "cpus": 2, "mem": "1G", "allocator": "llfree",
                       "zones": [{"name": "0/DMA32", "first": 512, "frames": 7168}],
                       "events": {**{name: kinds.count(i) for i, name in enumerate(names)},
                                  "seconds": 1, **counts}}, f)

    def test_a_record_has_16_bytes(self):
        self.assertEqual(data.RECORD.itemsize, 16)

    def test_lifetimes(self):
        freed, ns = data.Trace(self.dir).lifetimes()
        self.assertEqual([(int(f["pfn"]), int(f["kind"]), int(n)) for f, n in zip(freed, ns)],
                         [(8, 1, 2000), (8, 2, 6000), (16, 0, 4000)])

    def test_records_are_missing(self):
        self.write(EVENTS, alloc=5)
        with self.assertRaisesRegex(Error, "has 9 records, not 10"):
            data.Trace(self.dir)
        with self.assertRaisesRegex(Error, "no trace in"):
            data.Trace(os.path.dirname(self.dir))

    def test_histograms(self):
        out = f"{self.dir}/out"
        with mock.patch.object(sys, "argv", ["histograms", "--out", out, self.dir]), \
             contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(histograms.main(), 0)
        with open(f"{out}/histograms.csv", encoding="utf-8") as f:
            found = [tuple(row.values()) for row in csv.DictReader(f)]
        name = "load-1G-llfree"
        self.assertEqual(found, [(name, "0", "movable", "1", "1"),
                                 (name, "0", "reclaimable", "4", "1"),
                                 (name, "2", "unmovable", "4", "1"),
                                 (name, "9", "movable", "-1", "1")])
        for suffix in "svg", "png":
            self.assertGreater(os.path.getsize(f"{out}/{name}.{suffix}"), 1000)

    def replay(self, events, placement, frames=b"\1" * 8192):
        """Replay records on a zone of 16 children, and return the result."""
        self.write(events)
        with open(f"{self.dir}/frames", "wb") as f:
            f.write(frames)
        text = subprocess.run([replay.REPLAY, "--zone", f"0:{len(frames)}", "--placement",
                               placement, self.dir], check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        return json.loads(text)

    def test_replay(self):
        build("replay")
        scattered = [(1000 * i, 512 * i, data.ZONE_ALLOC, 0, 1, i % 2) for i in range(8)]
        found = self.replay(scattered, "recorded")
        self.assertEqual((found["huge"], found["best"], found["moves"], found["unmovable"]),
                         (8, 15, 7, 0))
        found = self.replay(scattered, "default")
        # Each CPU's slot has a separate tree.
        self.assertEqual((found["huge"], found["best"], found["moves"]), (14, 15, 4))
        self.assertEqual((found["allocs"], found["failed"], found["free"]), (8, 0, 8184))

    def test_replay_of_frees(self):
        build("replay")
        block = (0, 64, data.ZONE_ALLOC, 3, 0, 0)
        parts = [(1000 + i, 64 + i, data.ZONE_FREE, 0, 0, 1) for i in range(8)]
        for placement in "recorded", "default", "bestfit":
            self.assertEqual(self.replay([block], placement)["unmovable"], 1)
            found = self.replay([block, *parts], placement)
            self.assertEqual((found["huge"], found["frees"], found["unknown"]), (16, 8, 0))
            # An allocation of a caller without an event of the zone
            captured = self.replay([(0, 1024, data.ALLOC, 9, 1, 0)], placement)
            self.assertEqual((captured["free"], captured["allocs"]), (7680, 1))
            # A caller's free of an order with a per-CPU list is no free of the zone.
            found = self.replay([block, (1000, 64, data.FREE, 3, 0, 0)], placement)
            self.assertEqual((found["free"], found["frees"]), (8184, 0))
            found = self.replay([block, (1000, 128, data.ZONE_FREE, 3, 0, 0)], placement)
            self.assertEqual((found["unknown"], found["free"]), (8, 8184))
            found = self.replay([block, block], placement)
            self.assertEqual((found["stale"], found["free"]), (8, 8184))

    def test_replay_by_best_fit(self):
        build("replay")
        # Children 0 and 2 have movable frames, 3 an unmovable one; child 2 is fuller.
        frames = bytearray(b"\1" * 8192)
        frames[:100], frames[1024:1224], frames[1536] = b"\2" * 100, b"\2" * 200, 3
        events = [(0, 4096, data.ZONE_ALLOC, 8, 1, 0), (1, 4608, data.ZONE_ALLOC, 0, 0, 1),
                  (2, 8191, data.ZONE_ALLOC, 0, 1, 1)]
        found = self.replay(events, "bestfit", bytes(frames))
        self.assertEqual((found["huge"], found["unmovable"], found["moves"]), (13, 1, 100))
        # Only memory of the other kind is free for a block of a row.
        full = bytearray(b"\2" * 8192)
        full[512:576] = b"\1" * 64
        found = self.replay([(0, 512, data.ZONE_ALLOC, 6, 0, 0), (1, 0, data.ZONE_FREE, 0, 0, 0),
                             (2, 0, data.ZONE_ALLOC, 0, 1, 0)], "bestfit", bytes(full))
        self.assertEqual((found["unmovable"], found["failed"], found["free"]), (1, 0, 0))
        # Two children
        found = self.replay([(0, 1024, data.ZONE_ALLOC, 10, 1, 0)] * 2, "bestfit")
        self.assertEqual((found["huge"], found["stale"]), (14, 1024))

    def test_replay_begins_with_what_was_there(self):
        build("replay")
        frames = b"\3" + b"\1" * 511 + b"\2" * 512 + b"\1" * 7168
        for placement in "recorded", "default", "bestfit":
            found = self.replay([(0, 512, data.ZONE_FREE, 0, 0, 0)], placement, frames)
            self.assertEqual((found["free"], found["huge"], found["unmovable"],
                              found["unknown"]), (7680, 14, 1, 0))

    def test_a_child_without_memory_is_not_unmovable(self):
        build("replay")
        frames = b"\1" * 1024 + b"\0" * 7168
        for placement in "recorded", "default", "bestfit":
            found = self.replay([(0, 512, data.ZONE_ALLOC, 0, 0, 0)], placement, frames)
            self.assertEqual((found["free"], found["huge"], found["unmovable"]), (1023, 1, 1))

    def test_a_map_says_how_full_each_child_is(self):
        build("replay")
        # An unmovable frame, a child that is movable; at the end, a frame and a child absent
        frames = b"\3" + b"\1" * 511 + b"\2" * 512 + b"\1" * 6655 + b"\0" * 513
        self.write([(0, 1024, data.ZONE_ALLOC, 9, 1, 0),
                    (10 ** 9, 1536, data.ZONE_ALLOC, 0, 1, 0),
                    (2 * 10 ** 9, 0, data.ZONE_FREE, 0, 0, 0)])
        with open(f"{self.dir}/frames", "wb") as f:
            f.write(frames)
        subprocess.run([replay.REPLAY, "--zone", f"0:{len(frames)}", "--placement", "recorded",
                        "--map", f"{self.dir}/map", self.dir], check=True,
                       stdout=subprocess.DEVNULL)
        with open(f"{self.dir}/map", encoding="utf-8") as f:
            rows = [*csv.DictReader(f)]
        self.assertEqual([float(row["seconds"]) for row in rows],
                         [n / 100 for n in range(201)])
        self.assertEqual({row["start_pfn"] for row in rows}, {"0"})
        huge = "u511 m0*2 f512*11 u511 x0"
        both = "u511 m0*2 m511 f512*10 u511 x0"
        self.assertEqual([row["blocks"] for row in rows],
                         [huge] * 100 + [both] * 100 + ["f512 m0*2 m511 f512*10 u511 x0"])
        self.assertEqual(len(maps.decode(both)), 16)

    def test_maps_begin_with_the_first_whole_child(self):
        build("replay")
        self.write([(0, 1024, data.ZONE_ALLOC, 0, 1, 0)])
        with open(f"{self.dir}/frames", "wb") as f:
            f.write(b"\1" * 2048)
        subprocess.run([replay.REPLAY, "--zone", "100:1900", "--placement", "recorded",
                        "--map", f"{self.dir}/map", self.dir], check=True,
                       stdout=subprocess.DEVNULL)
        # A trace without duration has one sample.
        self.assertEqual(read_text(f"{self.dir}/map"),
                         "seconds,start_pfn,blocks\n0.000000,512,f512 m511\n")

    def test_maps_of_placements_lie_one_above_the_other(self):
        self.write([(0, 1024, data.ZONE_ALLOC, 9, 1, 0),
                    (10 ** 9, 2048, data.ZONE_ALLOC, 0, 0, 0),
                    (4 * 10 ** 9, 1024, data.ZONE_FREE, 9, 1, 0)])
        with open(f"{self.dir}/frames", "wb") as f:
            f.write(b"\1" * 8192)
        out, drawn, save = f"{self.dir}/out", [], figures.save

        def see(figure, path):
            drawn.append((os.path.basename(path), [
                (a.get_title(), a.images[0].get_array().shape, [*a.images[0].get_extent()])
                for a in figure.axes if a.images]))
            save(figure, path)
        argv = ["replay", "--maps", "--placements", "recorded,packed,bestfit", "--out", out,
                self.dir]
        with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(io.StringIO()), \
             mock.patch.object(figures, "save", see):
            self.assertEqual(replay.main(), 0)
        name = "load-1G-llfree-map"
        self.assertEqual(drawn[-1], (name, [
            (placement, (14, 201, 4), [0, 4, 0, 14])
            for placement in ("recorded", "packed", "bestfit")]))
        for suffix in "svg", "png":
            self.assertGreater(os.path.getsize(f"{out}/{name}.{suffix}"), 1000)
        found = maps.sequences(maps.read_samples(f"{out}/{name}.csv"))
        self.assertEqual([*found], [("load-1G-llfree", 0, p)
                                    for p in ("bestfit", "packed", "recorded")])
        seconds, zones = found["load-1G-llfree", 0, "recorded"][-1]
        blocks = [(512, "free")] * 14
        blocks[3] = 511, "unmovable"
        self.assertEqual((seconds, zones), (4, [maps.Zone("0/DMA32", 512, blocks)]))

    def test_maps_are_on_demand(self):
        with open(f"{self.dir}/frames", "wb") as f:
            f.write(b"\1" * 8192)
        self.write([(0, 1024, data.ZONE_ALLOC, 9, 1, 0)])
        out = f"{self.dir}/out"
        with mock.patch.object(sys, "argv", ["replay", "--out", out, self.dir]), \
             contextlib.redirect_stdout(io.StringIO()):
            self.assertEqual(replay.main(), 0)
        self.assertEqual([f for f in os.listdir(out) if "map" in f], [])

    def test_memory_that_is_in_use_for_long_keeps_huge_blocks(self):
        build("age")
        # In 2 GiB, searches have to see all trees; with seed 2 rounds of searches repeat soon.
        for mib, seed in (1024, 1), (2048, 2):
            best, found = (age.mean(age.run(mib, p, 12, seed, 2)) for p in ("bestfit", "default"))
            self.assertGreater(best["score"], 0.9)
            self.assertGreater(found["score"], 0.85 * best["score"], f"{mib} MiB")
            self.assertLess(found["unmovable"], 1.05 * best["unmovable"], f"{mib} MiB")

    def test_the_model_has_the_figures_of_the_benchmark(self):
        def numbers(path):
            text = read_text(f"{TOP}/{path}")
            wanted = r"#define\s+((?:AGE|SHARE|BUFFER)_\w+)\s+(\d+)|\[(LIFE_\w+)\] = ({.*})"
            found = {a or c: b or d for a, b, c, d in re.findall(wanted, text)}
            found.pop("AGE_IN_2_PAGES", None)
            return found
        model = numbers("tools/testing/llfree/age.c")
        self.assertEqual(model, numbers("mm/page_alloc_bench.c"))
        self.assertEqual(len(model), 10)

    def test_age_says_what_was_compared(self):
        out = f"{self.dir}/age.csv"
        argv = ["age-model", "--mib", "256", "--rounds", "3", "--seeds", "2", "--out", out]
        said = io.StringIO()
        with mock.patch.object(sys, "argv", argv), contextlib.redirect_stdout(said):
            self.assertEqual(age.main(), 0)
        self.assertRegex(said.getvalue(), r"age, 256 MiB +[01]\.\d+ +[01]\.\d+")
        with open(out, encoding="utf-8") as f:
            self.assertEqual([row["placement"] for row in csv.DictReader(f)],
                             ["default", "packed", "bestfit"])

    def test_table(self):
        lines = [*replay.table({"a": {"x": 0.5, "y": 1}, "bc": {"x": 0.125, "y": 1}},
                               ["x", "y"])]
        self.assertRegex(lines[-1], r"^geometric mean +0\.250 +1\.000$")

    def test_loads_can_be_formatted(self):
        for name, load in LOADS.items():
            for text in load.setup, load.command:
                text = text.format(cpus=2, linux="/linux", mib=985)
                self.assertNotIn("{", text, name)
                subprocess.run(["sh", "-n", "-c", text], check=True)
            self.assertTrue(load.about and load.programs, name)

    def test_a_server_that_never_answers_fails_the_load(self):
        for test, status in ("true", 0), ("false", 1):
            ended = subprocess.run(["sh", "-c", f"sleep() {{ :; }}; {loads.until(test)} true"],
                                   check=False)
            self.assertEqual(ended.returncode, status)

    def test_the_newest_version_is_found_first(self):
        found = [f"/usr/lib/postgresql/{v}/bin" for v in ("9.6", "17", "15")]
        with mock.patch("glob.glob", return_value=found):
            self.assertEqual(loads.search_path("/bin"), "/usr/lib/postgresql/17/bin:/bin")
        with mock.patch("glob.glob", return_value=[]):
            self.assertEqual(loads.search_path("/bin"), "/bin")


if __name__ == "__main__":
    unittest.main()
