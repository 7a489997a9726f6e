# SPDX-License-Identifier: GPL-2.0
"""Test that each mutant of tools/testing/llfree/mutants applies to the core"""

import subprocess
import unittest

from llfree.paths import TOP


class Mutants(unittest.TestCase):
    def test_all_apply(self):
        """A change of the core may change the text that a mutant replaces."""
        ended = subprocess.run([f"{TOP}/tools/testing/llfree/mutants", "--list"], check=False,
                               capture_output=True, text=True)
        self.assertEqual(ended.returncode, 0, ended.stderr)
        self.assertGreater(len(ended.stdout.splitlines()), 100)


if __name__ == "__main__":
    unittest.main()
