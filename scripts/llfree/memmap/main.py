# SPDX-License-Identifier: GPL-2.0
"""Show the map of free memory in the terminal, by pageblocks of 2 MiB.

Shows the map once, or with --live again and again. The map is that of the running
system, which needs root, or with --file one that scripts/bench has stored in
samples.csv. In a guest:  scripts/vm --alloc llfree -- scripts/memmap --live --frames 5"""

import itertools
import os
import shutil
import signal
import sys
import time

from llfree import program
from llfree.memmap import maps, screen, source

CLEAR_SCREEN = "\033[H\033[2J"


def running_system():
    """Yield (title, map) of this system, without end."""
    read, path = source.find()
    while True:
        yield (f"{source.allocator()}, {time.strftime('%T')}, from {path}",
               read())


def stored(args):
    """Yield (title, map) for the maps of a file of samples."""
    found = {key: course for key, course in maps.sequences(
        maps.read_samples(args.file)).items()
        if args.bench in (None, key[0]) and args.alloc in (None, key[2])}
    if not found:
        raise maps.BadMap(f"{args.file}: no sample of these")
    for (bench, pair, alloc), course in found.items():
        for seconds, zones in course if args.live else course[-1:]:
            yield f"{alloc}, {bench}, pair {pair}, {seconds:.1f} s", zones


def show(frames, args):
    tty = sys.stdout.isatty()
    colour = args.colour == "always" or \
        args.colour == "auto" and tty and "NO_COLOR" not in os.environ
    for number, (title, zones) in enumerate(frames):
        if number:
            time.sleep(args.every)
        columns, lines = shutil.get_terminal_size()
        text = "\n".join(screen.frame(title, zones, columns, lines, colour))
        print(f"{CLEAR_SCREEN if tty and args.live else ''}{text}", flush=True)


def main():
    p = program.parser(__doc__)
    p.add_argument("--live", action="store_true",
                   help="show one picture after another, until Ctrl-C")
    p.add_argument("--every", metavar="SECONDS", type=float, default=1.0,
                   help="time between two pictures (default: 1)")
    p.add_argument("--frames", metavar="N", type=int,
                   help="end after N pictures")
    p.add_argument("--file", metavar="FILE",
                   help="a samples.csv instead of the running system")
    p.add_argument("--bench", metavar="NAME",
                   help="with --file: only this benchmark")
    p.add_argument("--alloc", choices=program.ALLOCATORS,
                   help="with --file: only this allocator")
    p.add_argument("--colour", choices=("auto", "always", "never"),
                   default="auto", help="(default: auto)")
    args = p.parse_args()
    if args.every < 0 or (args.frames or 1) < 1:
        p.error("--every is at least 0, --frames at least 1")
    # "memmap --live | head" has to end when head ends.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    frames = stored(args) if args.file else running_system()
    if args.frames or not (args.live or args.file):
        frames = itertools.islice(frames, args.frames or 1)
    try:
        show(frames, args)
    except OSError as e:
        raise program.Error(e) from e
    except KeyboardInterrupt:
        pass
    return 0
