# SPDX-License-Identifier: GPL-2.0
"""Test the settings: Kconfig, and the Makefile's variables."""

import re
import shutil
import subprocess
import tempfile
import unittest

from llfree.kernel.build import read_config
from llfree.paths import BUILD, LINUX, TOP
from llfree.program import make_env, read_text

# Variables that the user may have in the environment
NAMES = re.findall(r"^(\w+) \?= ", read_text(f"{TOP}/Makefile"), re.M)


class Settings(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.dir = tmp.name
        shutil.copy(f"{TOP}/Makefile", self.dir)
        self.env = make_env(*NAMES)

    def kconfig(self, *lines):
        """Return the options that Kconfig completes from some options."""
        config = f"{self.dir}/.config"
        with open(config, "w", encoding="utf-8") as f:
            f.write("".join(f"{line}\n" for line in lines))
        subprocess.run(["make", "-s", "-C", LINUX, f"O={BUILD}/kconfig",
                        f"KBUILD_KCONFIG={TOP}/Kconfig", f"KCONFIG_CONFIG={config}",
                        "olddefconfig"], env=self.env, check=True,
                       stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return read_config(config)

    def make(self, *arguments, **env):
        """Return the values of the Makefile's variables."""
        show = "".join(f"\n\t@echo '{name}=$({name})'" for name in NAMES)
        text = subprocess.run(["make", "-s", "--eval", f"show:{show}", "show", *arguments],
                              cwd=self.dir, env={**self.env, **env}, check=True, text=True,
                              stdout=subprocess.PIPE).stdout
        return dict(line.split("=", 1) for line in text.splitlines())

    def test_defaults_are_those_of_kconfig(self):
        values = self.make()
        self.assertEqual(set(values), set(NAMES))
        options = self.kconfig()
        for name in NAMES:
            option = options[f"CONFIG_{name}"].strip('"')
            self.assertEqual(values[name], "" if option == "n" else option, name)

    def test_every_option_with_a_value_is_a_variable(self):
        choices = re.compile(r"CONFIG_(FLAVOUR|ALLOC)_\w+")
        self.assertEqual({name for name in self.kconfig() if not choices.fullmatch(name)},
                         {f"CONFIG_{name}" for name in NAMES})

    def test_config_is_read(self):
        self.kconfig("CONFIG_FLAVOUR_RT_AMD64=y", "CONFIG_ALLOC_BUDDY=y", "CONFIG_SMP=4",
                     'CONFIG_MEM="3G"', "CONFIG_QUICK=y", "CONFIG_DEBUG_KERNEL=y",
                     'CONFIG_BENCH_ARGS="--cpus 1,2 --order 0"', 'CONFIG_LINUX_SRC="/a tree"')
        values = self.make()
        self.assertEqual((values["FLAVOUR"], values["ALLOC"], values["SMP"], values["MEM"]),
                         ("rt-amd64", "buddy", "4", "3G"))
        self.assertEqual((values["QUICK"], values["DEBUG_KERNEL"]), ("y", "y"))
        self.assertEqual(values["BENCH_ARGS"], "--cpus 1,2 --order 0")
        self.assertEqual(values["LINUX_SRC"], "/a tree")
        text = subprocess.run(["make", "-n", "run"], cwd=self.dir, env=self.env, check=True,
                              text=True, stdout=subprocess.PIPE).stdout
        self.assertIn("scripts/build x86_64-debug\n", text)
        self.assertIn("--kernel build/x86_64-debug --alloc buddy --mem 3G --smp 4 --numa 1", text)

    def test_variables_count_more(self):
        self.kconfig("CONFIG_ALLOC_BUDDY=y", "CONFIG_SMP=4", "CONFIG_QUICK=y")
        values = self.make("SMP=8", "QUICK=0", ALLOC="llfree")
        self.assertEqual((values["SMP"], values["QUICK"], values["ALLOC"]), ("8", "0", "llfree"))
        text = subprocess.run(["make", "-n", "bench", "QUICK=0"], cwd=self.dir, env=self.env,
                              check=True, text=True, stdout=subprocess.PIPE).stdout
        self.assertNotIn("--quick", text)

    def test_values_stay_in_their_ranges(self):
        options = self.kconfig("CONFIG_SMP=0", "CONFIG_HOURS=1000")
        self.assertEqual((options["CONFIG_SMP"], options["CONFIG_HOURS"]), ("1", "168"))


if __name__ == "__main__":
    unittest.main()
