# SPDX-License-Identifier: GPL-2.0
"""Loads whose page allocations scripts/trace-pages records

guest/record-pages runs the setup of a load once before the recording begins. A setup may leave
a server running. Then the load's command runs again and again until the time is over. Both run
in a directory of a tmpfs."""

import collections
import glob
import re

Load = collections.namedtuple("Load", "about command programs setup", defaults=((), ""))

# Outside of PATH, since several versions can be installed
SERVERS = "/usr/lib/postgresql/*/bin"
NOBODY = "setpriv --reuid=nobody --regid=$(id -g nobody) --clear-groups"
MEMCACHED = "--servers=127.0.0.1:11390"


def until(test):
    """Return shell code that waits until a command succeeds."""
    return (f"n=0; until {test} >/dev/null 2>&1; do "
            "n=$((n + 1)); [ $n -lt 300 ] || exit 1; sleep 0.2; done; ")


def versions(path):
    """Return the numbers in a path, for sorting."""
    return [int(n) for n in re.findall(r"\d+", path)]


def search_path(path):
    """Return PATH with the newest PostgreSQL in front."""
    return ":".join([*sorted(glob.glob(SERVERS), key=versions, reverse=True)[:1], path])


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
        "redis-server --port 6390 --save 10 1000 --dir . >redis.log & server=$!; "
        + until("redis-cli -p 6390 ping") +
        "redis-benchmark -q -p 6390 -n 100000 -r 100000 -d 1024 -t set,get,lpush,lrange_100 && "
        "redis-cli -p 6390 shutdown nosave && wait $server && rm -f dump.rdb",
        ("redis-server", "redis-benchmark")),
    "memcached": Load(
        "a cache of an eighth of memory: values of 32 bytes to 64 KiB, expired and evicted",
        f"memcaslap {MEMCACHED} -F mix -T {{cpus}} -c $(({{cpus}} * 8)) -o 0.1 -e 0.3 -t 20s "
        f"&& memcstat {MEMCACHED} | grep -E 'evictions:|reclaimed:|curr_items:'",
        ("memcached", "memcaslap"),
        # Lengths and shares of keys, of values, and of sets and gets
        "printf '%s\\n' key '16 64 1' value '32 256 0.4' '256 4096 0.3' '4096 65536 0.3' "
        "cmd '0 0.5' '1 0.5' >mix; "
        "memcached -u nobody -l 127.0.0.1 -p 11390 -U 0 -m $(({mib} / 8)) & "
        + until(f"memcping {MEMCACHED}")),
    "postgresql": Load(
        "pgbench: transactions of 8 clients, tables of about a tenth of memory",
        "pgbench -h $PWD/pg -U postgres -n -c 8 -j {cpus} -T 20 -b tpcb-like@1 -b "
        "select-only@3 postgres",
        ("initdb", "postgres", "pgbench", "setpriv"),
        # Tables of scale 1 take 15 MiB.
        f"mkdir pg && chown nobody pg && {NOBODY} initdb -D pg/data -U postgres -A trust "
        "-E UTF8 --no-locale --no-sync --no-instructions || exit 1; "
        f"{NOBODY} postgres -D pg/data -k $PWD/pg -c listen_addresses= "
        "-c shared_buffers=$(({mib} / 8))MB -c min_wal_size=32MB "
        "-c max_wal_size=$(({mib} / 16 + 16))MB & "
        + until("pg_isready -h $PWD/pg -U postgres") +
        "pgbench -i -I dtGvp -q -s $(({mib} / 160)) -h $PWD/pg -U postgres postgres"),
    "processes": Load(
        "a mix of programs that come and go, as in a desktop session",
        "for i in 1 2 3 4; do python3 -c 'import json, random, email, http.client; "
        "x = [str(i) * 10 for i in range(200000)]; random.shuffle(x)' & done; "
        "cat {linux}/mm/*.c | grep -c page >/dev/null && wait", ("python3",)),
}
