# SPDX-License-Identifier: GPL-2.0
"""Test the Debian packages: their configuration, and the search for packages."""

import contextlib
import io
import lzma
import os
import tempfile
import unittest
from unittest import mock

from llfree.debian import image, packages
from llfree.program import Error, read_text

DEBIAN = "CONFIG_A=y\nCONFIG_B=m\n"


class FakeKernel(packages.DebianKernel):
    """A kernel whose Kconfig makes only the changes that a test wants"""

    def __init__(self, out, changes=""):
        super().__init__("cloud-amd64", "/nothing", 1)
        self.out, self.changes, self.chosen = out, changes, None

    def run(self, what, argv, cwd=None, **env):
        if "localmodconfig" in argv:
            self.chosen = read_text(f"{self.out}/.modules")
            with open(f"{self.out}/.config", "w", encoding="utf-8") as f:
                f.write("CONFIG_A=y\n")
        path = argv[-2].removeprefix("KCONFIG_CONFIG=")
        if argv[-1] == "olddefconfig" and "LLFREE=y" in read_text(path):
            with open(path, "a", encoding="utf-8") as f:
                f.write(self.changes)


class Packages(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        for name in "DEB", "CONFIGS":
            patch = mock.patch.object(packages, name, self.dir)
            patch.start()
            self.addCleanup(patch.stop)
        self.out = f"{self.dir}/out"
        os.mkdir(self.out)
        with lzma.open(f"{self.dir}/config.amd64_none_cloud-amd64.xz", "wt") as f:
            f.write(DEBIAN)

    def configure(self, kernel, modules=None):
        with contextlib.redirect_stdout(io.StringIO()) as said:
            kernel.configure(modules)
        return said.getvalue()

    def test_only_llfree_changes(self):
        said = self.configure(FakeKernel(self.out, "CONFIG_LLFREE_CORE=y\n"))
        self.assertIn("LLFREE=y changes: CONFIG_LLFREE CONFIG_LLFREE_CORE\n", said)
        self.assertEqual(read_text(f"{self.out}/.config"),
                         f"{DEBIAN}CONFIG_LLFREE=y\nCONFIG_LLFREE_CORE=y\n")

    def test_another_option_changes(self):
        for change in "CONFIG_B=y\n", "# CONFIG_A is not set\n", "CONFIG_C=y\n":
            with self.assertRaisesRegex(Error, "LLFREE=y changes CONFIG_[ABC]$"):
                self.configure(FakeKernel(self.out, change))

    def test_kconfig_refuses_llfree(self):
        with self.assertRaisesRegex(Error, "does not take LLFREE=y"):
            self.configure(FakeKernel(self.out, "# CONFIG_LLFREE is not set\n"))

    def test_modules(self):
        kernel = FakeKernel(self.out)
        self.configure(kernel, ["virtio_blk", "ext4"])
        self.assertEqual(kernel.chosen, "Module Size Used\nvirtio_blk 0 0\next4 0 0\n")
        self.assertEqual(read_text(f"{self.out}/.config"), "CONFIG_A=y\nCONFIG_LLFREE=y\n")

    def test_no_configuration(self):
        os.unlink(f"{self.dir}/config.amd64_none_cloud-amd64.xz")
        with self.assertRaisesRegex(Error, "install the package linux-config-6.12"):
            self.configure(FakeKernel(self.out))

    def test_newest_packages(self):
        config = f"{self.dir}/amd64/include/config"
        os.makedirs(config)
        with open(f"{config}/kernel.release", "w", encoding="utf-8") as f:
            f.write("6.12.9-llfree-amd64\n")
        for age, name in enumerate(("linux-image-6.12.9-llfree-amd64_6.12.9-2_amd64.deb",
                                    "linux-image-6.12.9-llfree-amd64_6.12.9-1_amd64.deb",
                                    "linux-headers-6.12.9-llfree-amd64_6.12.9-2_amd64.deb",
                                    "linux-image-6.12.9-llfree-cloud-amd64_6.12.9-3_amd64.deb")):
            path = f"{self.dir}/{name}"
            with open(path, "w", encoding="utf-8"):
                pass
            os.utime(path, (1000 - age, 1000 - age))
        self.assertEqual([*map(os.path.basename, packages.packages("amd64"))],
                         ["linux-headers-6.12.9-llfree-amd64_6.12.9-2_amd64.deb",
                          "linux-image-6.12.9-llfree-amd64_6.12.9-2_amd64.deb"])
        self.assertRegex(packages.image_package("amd64"), "/linux-image-.*9-2_amd64.deb$")
        with self.assertRaisesRegex(Error, "run scripts/deb --flavour rt-amd64"):
            packages.image_package("rt-amd64")

    def test_image_is_made_when_something_is_newer(self):
        package, disk = f"{self.dir}/a.deb", f"{self.dir}/disk.img"
        for path in package, disk:
            with open(path, "w", encoding="utf-8"):
                pass
        later = os.path.getmtime(disk) + 1e6
        with mock.patch.object(image.shutil, "which", lambda _: None):
            os.utime(disk, (later, later))
            image.update(disk, [package])
            os.utime(package, (later + 1, later + 1))
            with self.assertRaisesRegex(Error, "no mmdebstrap"):
                image.update(disk, [package])


if __name__ == "__main__":
    unittest.main()
