# SPDX-License-Identifier: GPL-2.0
"""Build QEMU's command line"""

import os

from llfree.paths import BUILD, GUEST, TOP
from llfree.program import Error
from llfree.vm import machine
from llfree.vm.arguments import MIB

# An emulated CPU stops while the host runs something else, and under memory
# pressure the creation of a kernel thread takes long. A hang lasts longer than this.
PATIENCE = ("workqueue.watchdog_thresh=300", "watchdog_thresh=60",
            "rcupdate.rcu_cpu_stall_timeout=300",
            "sysctl.kernel.hung_task_timeout_secs=600")


def memory_size(args):
    """Return the value of QEMU's option -m."""
    most = args.maxmem
    if args.nvdimm and not most:
        most = args.mem + sum(map(os.path.getsize, args.nvdimm)) // MIB + 1024
    if not most:
        return f"{args.mem}M"
    return f"{args.mem}M,slots={args.slots or 8},maxmem={most}M"


def memory_args(nodes, mem, kind):
    """Return options that give each node an equal share, in steps of 2 MiB; the last node has
    the rest, too."""
    argv = []
    for node in range(nodes):
        size = mem // nodes // 2 * 2
        if node == nodes - 1:
            size = mem - size * (nodes - 1)
        argv += ["-object", f"memory-backend-{kind},id=mem{node},size={size}M"]
    return argv


def nvdimm_args(files):
    """Return options that make each file an NVDIMM without labels, with one namespace."""
    argv = ["-machine", "nvdimm=on"] if files else []
    for number, file in enumerate(files):
        argv += ["-object", f"memory-backend-file,id=nvmem{number},share=on,align=2M,"
                 f"size={os.path.getsize(file)},mem-path={quoted(file)}",
                 "-device", f"nvdimm,id=nvdimm{number},memdev=nvmem{number}"]
    return argv


def numa_args(nodes, cpus):
    """Return options for nodes with the memory of memory_args() and equal shares of CPUs."""
    argv = []
    for node in range(nodes):
        first, end = cpus * node // nodes, cpus * (node + 1) // nodes
        which = f",cpus={first}-{end - 1}" if end > first else ""
        argv += ["-numa", f"node,nodeid={node},memdev=mem{node}{which}"]
    return argv


def quoted(path):
    """Return a path as the value of a QEMU option."""
    return path.replace(",", ",,")


def topology(cpus, nodes):
    """Return the value of -smp with one socket per node: CPUs that share a cache share a
    node."""
    if cpus % nodes:
        return f"{cpus},sockets={cpus},cores=1,threads=1"
    return f"{cpus},sockets={nodes},cores={cpus // nodes},threads=1"


def mount_options(args, cache):
    """Return the mount options of a 9p file system in the guest."""
    # A small guest may not have contiguous memory for large messages.
    msize = 32768 if args.mem < 256 else 262144
    return f"trans=virtio,version=9p2000.L,msize={msize},cache={cache}"


def clock_parameters(icount=False, hz=100):
    """Return the kernel parameters about clocks for an emulated x86 CPU."""
    # Emulated CPUs wait long for each other, so the clock watchdog is off. On a busy
    # host, emulated CPUs cannot measure a delay loop.
    words = ["tsc=reliable", "no_timer_check"]
    if machine.delay_loops(hz):
        words.append(f"lpj={machine.delay_loops(hz)}")
    khz = 1000000 if icount else machine.tsc_khz()
    if khz:
        words.append(f"tsc_early_khz={khz}")
    return words


def kernel_parameters(args, arch, kvm, rundir):
    flags = mount_options(args, "loose")
    words = [
        machine.MACHINES[arch].console, "panic=-1", "root=root", "rootfstype=9p",
        "ro", f"rootflags={flags}", f"VM_DIR={rundir}",
    ]
    if not kvm and arch == "x86_64":
        words += clock_parameters(args.icount)
    if args.patient:
        words += PATIENCE
    if args.gdb:
        words.append("nokaslr")
    if args.alloc:
        words.append(f"page_alloc={args.alloc}")
    words += args.append
    if arch == machine.HOST:
        words.append(f"init={GUEST}/init")
    else:
        # The checkout is in /mnt until guest/init moves the mount.
        words += [f"VM_CHECKOUT={TOP}", "init=/bin/sh", "--", "-c",
                  f'"mount -t 9p -o {flags} checkout /mnt && '
                  'exec /bin/sh /mnt/scripts/guest/init"']
    return " ".join(words)


def share(path, tag, writable=False):
    """Return options for a directory as a 9p file system of the guest."""
    readonly = "" if writable else "readonly=on,"
    return ["-virtfs", f"local,path={quoted(path)},mount_tag={tag},"
            f"security_model=none,{readonly}multidevs=remap"]


def roots(arch):
    """Return options for the guest's root and, of another architecture, the checkout."""
    if arch == machine.HOST:
        return share("/", "root")
    root = f"{BUILD}/{arch}-root"
    if not os.path.isdir(root):
        raise Error(f"no {root}: run scripts/guest-root {arch}")
    return share(root, "root") + share(TOP, "checkout")


def machine_options(args, arch, kvm):
    """Return the command line up to the kernel and the output channels: the machine with
    memory, disks and shared directories."""
    argv = [machine.MACHINES[arch].qemu, "-nodefaults", "-no-user-config",
            "-display", "none", "-no-reboot",
            "-machine", machine.MACHINES[arch].machine,
            "-smp", topology(args.smp, args.numa), "-m", memory_size(args)]
    if kvm:
        argv += ["-accel", "kvm", "-cpu", args.cpu or "host"]
    else:
        thread = "single" if args.icount else "multi"
        argv += ["-accel", f"tcg,thread={thread}", "-cpu", args.cpu or "max"]
    if args.icount:
        argv += ["-icount", "shift=0,sleep=off"]
    if args.prealloc:
        argv += ["-mem-prealloc"]
    if args.numa > 1 or args.memfd:
        argv += memory_args(args.numa, args.mem, "memfd" if args.memfd else "ram")
    if args.numa > 1:
        argv += numa_args(args.numa, args.smp)
    elif args.memfd:
        argv += ["-machine", "memory-backend=mem0"]
    if args.balloon:
        argv += ["-device", "virtio-balloon-pci,id=balloon,"
                 "free-page-reporting=on,deflate-on-oom=on"]
    for number, disk in enumerate(args.disk):
        argv += ["-drive", f"file={quoted(disk)},format=raw,if=none,"
                 f"id=disk{number}",
                 "-device", f"virtio-blk-pci,drive=disk{number}"]
    argv += nvdimm_args(args.nvdimm)
    for number, directory in enumerate(args.rwdir):
        argv += share(directory, f"rwdir{number}", writable=True)
    if args.network:
        argv += ["-nic", "user,model=virtio-net-pci"]
    if args.gdb:
        argv += ["-gdb", f"tcp:127.0.0.1:{args.gdb}", "-S"]
    if args.qmp:
        argv += ["-qmp", f"unix:{quoted(args.qmp)},server=on,wait=off"]
    return argv
