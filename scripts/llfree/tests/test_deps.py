# SPDX-License-Identifier: GPL-2.0
"""Test that scripts/deps leaves no server running, without installing a package."""

import os
import subprocess
import tempfile
import unittest

from llfree.paths import TOP

# Each fake program records its call. The fake sudo runs nothing, so no test can change this
# machine.
FAKES = {"sudo": "", "id": "echo 1000",
         "dpkg-query": 'case " $MISSING " in *" $4 "*) ;; *) echo " installed" ;; esac'}
POLICY = "/usr/sbin/policy-rc.d"
CLUSTER = "/etc/postgresql-common/createcluster.d/llfree.conf"


class Deps(unittest.TestCase):
    def setUp(self):
        tmp = tempfile.TemporaryDirectory()
        self.addCleanup(tmp.cleanup)
        self.tmp = tmp.name
        for name, text in FAKES.items():
            self.fake(name, text)

    def fake(self, name, text):
        path = f"{self.tmp}/{name}"
        with open(path, "w", encoding="utf-8") as f:
            f.write(f'#!/bin/sh\necho "${{0##*/}} $*" >>{self.tmp}/calls\n{text}\n')
        os.chmod(path, 0o755)

    def deps(self, missing, *args):
        """Return (exit status, commands that sudo was to run)."""
        ended = subprocess.run(
            [f"{TOP}/scripts/deps", *args], check=False, stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            env={"PATH": f"{self.tmp}:{os.environ['PATH']}", "MISSING": missing})
        with open(f"{self.tmp}/calls", encoding="utf-8") as f:
            calls = f.read().split("sudo ")[1:]
        return ended.returncode, [" ".join(c.split("dpkg-query")[0].split()) for c in calls]

    def test_servers_do_not_start(self):
        status, calls = self.deps("memcached postgresql trace-cmd", "traces")
        self.assertEqual(status, 0)
        policy, cluster, install, disable, remove, directory = calls
        self.assertIn(f"sh {POLICY} 755 #!/bin/sh", policy)
        self.assertRegex(policy, r'\*" memcached"\*.*exit 101')
        self.assertIn(f"sh {CLUSTER} 644 create_main_cluster = false", cluster)
        self.assertRegex(install, "^apt-get install .* memcached postgresql trace-cmd$")
        self.assertEqual(disable, "update-rc.d memcached disable")
        self.assertEqual(remove, f"rm -f {POLICY} {CLUSTER}")
        self.assertRegex(directory, "^rmdir .*createcluster.d$")

    def test_other_packages_need_no_policy(self):
        status, calls = self.deps("trace-cmd", "traces")
        self.assertEqual(status, 0)
        self.assertEqual([c.split()[0] for c in calls], ["apt-get"])

    def test_files_of_the_user_stay(self):
        self.fake("sudo", '[ "$1" != sh ]')
        status, calls = self.deps("memcached postgresql", "traces")
        self.assertEqual(status, 0)
        self.assertEqual([c.split()[0] for c in calls], ["sh", "sh", "apt-get", "update-rc.d"])

    def test_what_was_made_goes_after_a_failure(self):
        self.fake("sudo", '[ "$1" != apt-get ]')
        status, calls = self.deps("redis-server", "traces")
        self.assertNotEqual(status, 0)
        self.assertEqual(calls[-1], f"rm -f {POLICY}")
        self.assertNotIn("update-rc.d redis-server disable", calls)

    def test_check_changes_nothing(self):
        status, calls = self.deps("memcached", "traces", "--check")
        self.assertEqual((status, calls), (1, []))


if __name__ == "__main__":
    unittest.main()
