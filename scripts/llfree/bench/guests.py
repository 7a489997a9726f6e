# SPDX-License-Identifier: GPL-2.0
"""Guests that measure, each on its own or two in turns"""

import json
import os
import re
import signal
import subprocess
import sys
import time

from llfree.bench.plan import cell_name


class Useless(Exception):
    """A guest that measures nothing."""


class Guest:
    """A boot that goes on: what it says is taken line by line."""

    def __init__(self, boot, args, results, progress):
        self.boot = boot
        self.args = args
        self.results = results
        self.progress = progress
        self.position = 0       # cells that it has said something of
        self.seconds = 0.0      # that it did not stand still
        self.stands = False
        self.proc = None
        self.record = {"boot": boot.number, "pair": boot.pair,
                       "allocator": boot.alloc, "when": time.strftime("%F %T"),
                       "load": round(os.getloadavg()[0], 2), "cells": {}}

    def start(self):
        """Until it begins to measure; False if it does not get there."""
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
        """The next record it writes, taken note of; None at its end."""
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
        """Go on until so many cells are measured; False at the end."""
        while self.position < position:
            if self.take() is None:
                return False
        return True

    def stand(self):
        """Between two cells, or in the first moments of the next one, which
        does not notice: its clock stands as well."""
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
        """It has said all it has to; False if that is not all, or not well."""
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
            # It will not be otherwise the next time.
            raise Useless
        return False

    def close(self):
        """However far it is."""
        if self.proc:
            if self.proc.poll() is None:
                os.killpg(self.proc.pid, signal.SIGTERM)
                self.proc.wait()
            self.proc.stdout.close()
            self.log.close()


def run_guests(guests):
    """Cell by cell in turns, if there are several: whose turn it was last is
    first in the next cell. Whether all went well."""
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
