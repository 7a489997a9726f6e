# SPDX-License-Identifier: GPL-2.0
"""Build Debian packages of the kernel in Debian's own configuration with LLFree.

Takes the configuration of the package linux-config-6.12 and sets CONFIG_LLFREE=y. Fails if
this changes another option. The kernel boots with buddy unless its command line has
page_alloc=llfree. The packages linux-image and linux-headers are in build/deb, the full
output is in build/deb/FLAVOUR.log."""

import glob
import lzma
import os
import shutil

from llfree import program
from llfree.kernel.build import Kernel, read_config
from llfree.paths import BUILD, LINUX
from llfree.program import Error, say, write_text

DEB = f"{BUILD}/deb"
CONFIGS = "/usr/src/linux-config-6.12"
# {name of a flavour: Debian's file}
FLAVOURS = {"amd64": "config.amd64_none_amd64.xz",
            "cloud-amd64": "config.amd64_none_cloud-amd64.xz",
            "rt-amd64": "config.amd64_rt_amd64.xz"}
# Build no package with debug symbols, which has some GiB.
PROFILES = "pkg.linux-upstream.nokerneldbg"


def variables(flavour):
    ccache = "ccache " if shutil.which("ccache") else ""
    return [f"CC={ccache}gcc", f"HOSTCC={ccache}gcc", f"LOCALVERSION=-llfree-{flavour}",
            "KBUILD_BUILD_USER=llfree", "KBUILD_BUILD_HOST=localhost"]


def packages(flavour):
    """Return the newest packages of a flavour."""
    release = program.read_text(f"{DEB}/{flavour}/include/config/kernel.release", "").strip()
    found = sorted(glob.glob(f"{DEB}/linux-*-{release}_*.deb"), key=os.path.getmtime)
    # Packages of two builds have the same name, except for the version.
    return sorted({os.path.basename(p).partition("_")[0]: p for p in found}.values())


def image_package(flavour):
    """Return the package with the kernel."""
    for package in packages(flavour):
        if os.path.basename(package).startswith("linux-image-"):
            return package
    raise Error(f"no package linux-image of {flavour}: run scripts/deb --flavour {flavour}")


class DebianKernel(Kernel):
    """A kernel in one of Debian's configurations"""

    def __init__(self, flavour, source, jobs):
        super().__init__(f"deb {flavour}", source, f"{DEB}/{flavour}", [], jobs,
                         variables(flavour))
        self.flavour = flavour

    def settled(self, name, text):
        """Let Kconfig complete a configuration. Return the options and their file."""
        file = f"{self.out}/.config.{name}"
        write_text(file, text)
        self.run("configuring", [*self.make, f"KCONFIG_CONFIG={file}", "olddefconfig"])
        return read_config(file), file

    def configure(self, modules=None):
        path = f"{CONFIGS}/{FLAVOURS[self.flavour]}"
        if not os.path.exists(path):
            raise Error(f"no {path}: install the package linux-config-6.12")
        with lzma.open(path, "rt", encoding="utf-8") as f:
            debian = f.read()
        without, file = self.settled("debian", debian)
        if modules is not None:
            debian = self.only_modules(file, modules)
            without, _ = self.settled("debian", debian)
        got, file = self.settled("new", debian + "CONFIG_LLFREE=y\n")
        if got.get("CONFIG_LLFREE") != "y":
            raise Error(f"{self.flavour}: Kconfig does not take LLFREE=y")
        changed = [name for name in sorted(without.keys() | got.keys())
                   if without.get(name, "n") != got.get(name, "n")]
        others = [name for name in changed if "LLFREE" not in name]
        if others:
            raise Error(f"{self.flavour}: LLFREE=y changes {' '.join(others)}")
        say(f"{self.target}: {len(got)} options, of which LLFREE=y changes: "
            + " ".join(changed))
        # make must see a new .config only if its content has changed.
        config = f"{self.out}/.config"
        if program.read(file) != program.read(config):
            shutil.copyfile(file, config)

    def only_modules(self, file, modules):
        """Return a configuration with only the given modules and their dependencies."""
        loaded = f"{self.out}/.modules"
        write_text(loaded, "Module Size Used\n" + "".join(f"{m} 0 0\n" for m in modules))
        shutil.copyfile(file, f"{self.out}/.config")
        self.run("choosing modules", [*self.make, f"LSMOD={loaded}", "localmodconfig"])
        return program.read_text(f"{self.out}/.config")


def main():
    p = program.parser(__doc__)
    p.add_argument("--flavour", choices=FLAVOURS, default="amd64",
                   help="Debian's configuration to use (default: amd64)")
    p.add_argument("--modules", metavar="NAMES",
                   help="build only these modules, a list with commas, and their "
                   "dependencies")
    p.add_argument("--source", metavar="DIR", default=LINUX)
    p.add_argument("--jobs", "-j", metavar="N", type=int, default=os.cpu_count())
    p.add_argument("goal", metavar="GOAL", nargs="*",
                   help="make goals (default: bindeb-pkg)")
    args = p.parse_args()
    program.exit_on_term()
    kernel = DebianKernel(args.flavour, os.path.abspath(args.source), args.jobs)
    with kernel.alone():
        kernel.configure(None if args.modules is None else args.modules.split(","))
        kernel.build(args.goal or ["bindeb-pkg"], DEB_BUILD_PROFILES=PROFILES)
    if not args.goal:
        found = packages(args.flavour)
        # Remove older packages, so that a pattern for dpkg -i matches only new ones.
        for name in {p.partition("_")[0] for p in found}:
            for old in set(glob.glob(f"{name}_*.deb")) - set(found):
                os.unlink(old)
        for package in found:
            say(f"{os.path.relpath(package)}: {os.path.getsize(package) >> 20} MiB")
