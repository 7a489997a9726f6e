#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Run test programs as subtests of one KTAP report, which ends with the totals.
# Each argument is a command line. Fails if a test fails, or if a program does
# not run all tests of its plan.

log=$(mktemp) || exit 1
trap 'rm -f "$log"' EXIT

pass=0 fail=0 skip=0 nr=0
echo "KTAP version 1"
echo "1..$#"
for command; do
	nr=$((nr + 1))
	name=$(basename "${command%% *}")
	timeout ${TEST_TIMEOUT:-1800} $command >"$log" 2>&1 </dev/null
	status=$?
	sed 's/^/    /' "$log"
	ok=$(grep -c '^ok ' "$log")
	skipped=$(grep -c '^ok .*# SKIP' "$log")
	bad=$(grep -c '^not ok ' "$log")
	plan=$(sed -n 's/^1\.\.\([0-9]*\).*/\1/p' "$log" | head -n 1)
	if [ $((ok + bad)) -ne "${plan:-0}" ] || [ "${plan:-0}" -eq 0 ]; then
		echo "# $name: ${plan:-no} tests planned, $((ok + bad)) run"
		status=1
	fi
	pass=$((pass + ok - skipped))
	skip=$((skip + skipped))
	if [ $status -eq 0 ]; then
		echo "ok $nr $name"
	else
		# A program that died in a test has not counted this test.
		[ "$bad" -gt 0 ] || bad=1
		echo "not ok $nr $name # exit status $status"
	fi
	fail=$((fail + bad))
done
echo "# Totals: pass:$pass fail:$fail xfail:0 xpass:0 skip:$skip error:0"
[ "$fail" -eq 0 ]
