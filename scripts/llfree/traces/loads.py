# SPDX-License-Identifier: GPL-2.0
"""Loads whose page allocations scripts/trace-pages records

guest/record-pages runs a load's command again and again until the time is over, in a
directory of a tmpfs."""

import collections

Load = collections.namedtuple("Load", "about command programs", defaults=((),))

LOADS = {
    "build": Load(
        "kernel build: mm/ in a small configuration",
        "mkdir -p build && make -s -C {linux} O=$PWD/build tinyconfig && "
        "make -s -j{cpus} -C {linux} O=$PWD/build mm/ && rm -rf build", ("make", "gcc")),
    "stress": Load(
        "stress-ng mix: memory, processes, files, sockets",
        "stress-ng --quiet --oomable --timeout 20 --temp-path . --vm {cpus} --vm-bytes 40% "
        "--fork 1 --mmap 1 --mmap-bytes 16M --hdd 1 --hdd-bytes 16M --sock 1", ("stress-ng",)),
    "files": Load(
        "many small files, copied to a tmpfs from 9p, read and removed",
        "mkdir -p files && tar -C {linux} -cf - Documentation | tar -C files -xf - && "
        "find files -type f | xargs -n 100 cat >/dev/null && rm -rf files", ("tar",)),
    "network": Load(
        "TCP and UDP over loopback, UNIX sockets",
        "stress-ng --quiet --timeout 20 --temp-path . --sock {cpus} --udp 1 --sockmany 1",
        ("stress-ng",)),
    "redis": Load(
        "a database in memory: sets, gets and lists with values of 1 KiB, saved now and then",
        "redis-server --port 6390 --save 10 1000 --dir . >redis.log & server=$!; n=0; "
        "until redis-cli -p 6390 ping >/dev/null 2>&1; do "
        "n=$((n + 1)); [ $n -lt 100 ] || exit 1; sleep 0.2; done; "
        "redis-benchmark -q -p 6390 -n 100000 -r 100000 -d 1024 -t set,get,lpush,lrange_100 && "
        "redis-cli -p 6390 shutdown nosave && wait $server && rm -f dump.rdb",
        ("redis-server", "redis-benchmark")),
    "processes": Load(
        "a mix of programs that come and go, as in a desktop session",
        "for i in 1 2 3 4; do python3 -c 'import json, random, email, http.client; "
        "x = [str(i) * 10 for i in range(200000)]; random.shuffle(x)' & done; "
        "cat {linux}/mm/*.c | grep -c page >/dev/null && wait", ("python3",)),
}
