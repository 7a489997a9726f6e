# SPDX-License-Identifier: GPL-2.0
"""Run guests that measure, one alone or two in turns"""

import json
import os
import re
import signal
import subprocess
import sys
import time

from llfree.bench.plan import cell_name


class Useless(Exception):
    """The end of a guest that has measured nothing"""


class Guest:
    """A guest of a boot, and the output that the guest has written so far"""

    def __init__(self, boot, args, results, progress):
        self.boot = boot
        self.args = args
        self.results = results
        self.progress = progress
        self.position = 0       # number of cells whose results have been read
        self.seconds = 0.0      # time in which the guest was not stopped, until since
        self.stands = False
        self.proc = None
        self.record = {"boot": boot.number, "pair": boot.pair,
                       "allocator": boot.alloc, "when": time.strftime("%F %T"),
                       "load": round(os.getloadavg()[0], 2), "cells": {}}

    def start(self):
        """Start the guest and wait until it measures. Return False if it ends before."""
        self.boot.write_plan(self.args.out)
        self.results.boots.append(self.record)
        env = dict(os.environ)
        # The first stage of UML does not survive glibc's rseq registration.
        env.setdefault("GLIBC_TUNABLES", "glibc.pthread.rseq=0")
        self.log = open(self.boot.log, "w", encoding="utf-8")
        self.since = time.monotonic()
        self.proc = subprocess.Popen(
            self.boot.argv(self.args), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=self.log, text=True,
            errors="replace", env=env if self.args.um else None,
            start_new_session=True)
        self.progress.show(self.boot, self.position)
        return self.take() is not None

    def take(self):
        """Read the guest's next record, store and return it. Return None at the end."""
        for line in self.proc.stdout:
            if not line.startswith("{"):
                self.log.write(line)
                continue
            said = json.loads(line)
            if "cell" in said:
                self.add(said)
            elif "kernel" not in self.record:
                self.record["kernel"] = said["kernel"]
                self.results.meta["kernel"] = said["kernel"]
                self.progress.starts.append(time.monotonic() - self.since)
            return said
        return None

    def add(self, said):
        self.position = said["cell"] + 1
        cell = self.boot.todo[said["cell"]]
        self.record["cells"][cell_name(cell)] = said["seconds"]
        self.progress.add(cell, said["seconds"])
        self.results.add(self.boot, said)
        self.progress.show(self.boot, self.position)

    def reach(self, position):
        """Read records until position cells are measured. Return False if the guest ends."""
        while self.position < position:
            if self.take() is None:
                return False
        return True

    def stand(self):
        """Stop the guest between two cells, or at the beginning of the next cell. The guest's
        clock stops, too, so the results do not change."""
        if not self.stands:
            self.stands = True
            self.seconds += time.monotonic() - self.since
            self.proc.send_signal(signal.SIGUSR1)

    def go_on(self):
        if self.stands:
            self.stands = False
            self.since = time.monotonic()
            self.proc.send_signal(signal.SIGUSR2)

    def finish(self):
        """Read the rest of the output and wait for the guest's end. Return False if cells are
        missing or the exit status is not 0."""
        boot, record = self.boot, self.record
        self.go_on()
        self.reach(len(boot.todo) + 1)
        record["status"] = self.proc.wait()
        record["seconds"] = round(self.seconds + time.monotonic() - self.since,
                                  1)
        self.close()
        if self.args.um:
            with open(boot.log, encoding="utf-8", errors="replace") as log:
                m = re.search(r"^bench status (\d+)", log.read(), re.M)
            record["status"] = int(m[1]) if m else 126
        if record["status"] == 0 and self.position == len(boot.todo):
            for path in (boot.log, boot.plan, boot.kernel_log):
                if os.path.exists(path):
                    os.unlink(path)
            return True
        self.progress.clear()
        print(f"bench: boot {boot.number + 1}, {boot.alloc}: status "
              f"{record['status']}, {self.position} of {len(boot.todo)} cells; "
              f"see {boot.log}", file=sys.stderr)
        if not self.position:
            with open(boot.log, encoding="utf-8", errors="replace") as log:
                print(*log.read().splitlines()[-12:], sep="\n",
                      file=sys.stderr)
            # The next guest would fail, too.
            raise Useless
        return False

    def close(self):
        """Kill the guest if it still runs, and close its files."""
        if self.proc:
            if self.proc.poll() is None:
                os.killpg(self.proc.pid, signal.SIGTERM)
                self.proc.wait()
            self.proc.stdout.close()
            self.log.close()


def run_guests(guests):
    """Run guests, cell by cell in turns if there are two. The guest that measured a cell last
    measures the next cell first. Return whether all guests finished well."""
    good = True
    try:
        for guest in guests:
            if guest.start() and len(guests) > 1:
                guest.stand()
        turns = list(guests)
        for position in range(1, len(guests[0].boot.todo) + 1):
            for guest in list(turns):
                for other in turns:
                    if other is not guest:
                        other.stand()
                guest.go_on()
                if not guest.reach(position):
                    turns.remove(guest)
            turns.reverse()
        for guest in guests:
            good = guest.finish() and good
        return good
    finally:
        for guest in guests:
            guest.close()
