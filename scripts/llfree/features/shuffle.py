# SPDX-License-Identifier: GPL-2.0
"""Test shuffling: compare the orders in which boots allocate blocks"""

import subprocess

from llfree.features.common import vm
from llfree.ktap import Report, Skip, check
from llfree.vm.machine import has_option

BLOCKS = "/sys/kernel/debug/page_isolation_torture/blocks"
# LLFree allocates the four blocks of a tree of 16 MiB one after another, so three of four
# neighbours are of the same tree. If trees and blocks have a random order, a quarter of
# these neighbours agree in two boots: 19 percent of all, in rare cases 10 more. No
# neighbours agree in two random orders of buddy.
LIKE, UNLIKE = 0.5, 0.35


def block_order(args, shuffle):
    """Return the frame numbers of blocks of the highest order, in order of allocation."""
    ended = subprocess.run(
        vm(args, ["--mem", "5G", "--append",
                  f"page_alloc.shuffle={int(shuffle)}"],
           [f"[ ! -e {BLOCKS} ] || cat {BLOCKS}"]),
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True,
        check=False)
    check(not ended.returncode,
          f"the guest ended with status {ended.returncode}")
    blocks = [int(line, 16) for line in ended.stdout.split()]
    if not blocks:
        raise Skip("CONFIG_PAGE_ISOLATION_TORTURE_TEST is not set")
    check(len(blocks) == len(set(blocks)), "a block was handed out twice")
    check(len(blocks) > 500, f"only {len(blocks)} blocks")
    return blocks


def likeness(one, two):
    """Return the share of neighbours in one order that are neighbours in the other order."""
    pairs = [set(zip(order, order[1:])) for order in (one, two)]
    return len(pairs[0] & pairs[1]) / min(map(len, pairs))


def run(args):
    tap = Report(2, "shuffle")
    orders = {}

    def compare(shuffle):
        orders[shuffle] = [block_order(args, shuffle) for _ in range(2)]
        return likeness(*orders[shuffle])

    def without():
        like = compare(False)
        check(like > LIKE, "two boots have blocks in different orders, "
              f"{like:.0%} alike")
        return f"{like:.0%} alike in two boots"

    def shuffled():
        if not has_option(args.kernel, "CONFIG_SHUFFLE_PAGE_ALLOCATOR"):
            raise Skip("CONFIG_SHUFFLE_PAGE_ALLOCATOR is not set")
        like = compare(True)
        check(like < UNLIKE, f"two boots have {like:.0%} of blocks alike")
        plain = likeness(orders[True][0], orders[False][0]) \
            if False in orders else 0
        check(plain < UNLIKE, f"{plain:.0%} of blocks as without shuffling")
        same = set(orders[True][0]) & set(orders[True][1])
        return f"{like:.0%} alike in two boots, {len(same)} blocks in both"

    tap.test("without", without)
    tap.test("with", shuffled)
    return tap.end()
