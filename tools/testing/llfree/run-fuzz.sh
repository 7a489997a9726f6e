#!/bin/sh
# SPDX-License-Identifier: GPL-2.0
#
# Fuzz the core: run all inputs in corpus/, then search for new inputs.
#
#   run-fuzz.sh [-s SECONDS] [-j JOBS] FUZZ
#       Run two tests in KTAP. JOBS share the SECONDS, 15 by default. With -j,
#       FUZZ-corpus keeps new inputs for the next run. Inputs that fail are
#       always kept. If FUZZ is empty, both tests are skipped.
#   run-fuzz.sh -m FUZZ
#       Write corpus/seeds.txt again, with the inputs of corpus/ and
#       FUZZ-corpus that reach most code.

MAX_OPS=100 MAX_SEEDS=150
corpus=$(dirname "$0")/corpus
seconds=15 jobs=0 merge=

while getopts s:j:m opt; do
	case $opt in
	s) seconds=$OPTARG ;;
	j) jobs=$OPTARG ;;
	m) merge=1 ;;
	*) exit 2 ;;
	esac
done
shift $((OPTIND - 1))
fuzz=${1:+$(realpath "$1")}

if [ -z "$fuzz" ]; then
	echo "TAP version 13"
	echo "1..2"
	for test in corpus search; do
		echo "ok $((nr += 1)) $test # SKIP no clang with libFuzzer"
	done
	exit 0
fi

tmp=$(mktemp -d) || exit 1
trap 'rm -rf "$tmp"' EXIT
# On a signal, end the jobs of libFuzzer, too.
trap 'kill -- -$pid 2>/dev/null; exit 1' INT TERM
mkdir "$tmp/seeds" "$tmp/new" || exit 1
kept=$fuzz-corpus
size=$((8 * (MAX_OPS + 1)))

# The corpus has a line of hexadecimal digits for each input.
perl -ne 'next if /^(#|$)/; /^([0-9a-f]{2})+$/ or die "line $.: not an input\n";
	  open F, ">", sprintf "'"$tmp"'/seeds/%03d", $. and
	  print F pack "H*", $_ or die "$!\n"' "$corpus"/*.txt || exit 1
inputs=$(ls "$tmp/seeds" | wc -l)

run_fuzz()
{
	setsid "$fuzz" -max_len=$size -timeout=20 -ignore_timeouts=0 \
		-artifact_prefix="$fuzz-" "$@" >"$tmp/log" 2>&1 &
	pid=$!
	wait $pid
}

# Print the error, and the operations of the input that has caused it.
report()
{
	grep -e '^# ' -e '^==' -e 'runtime error:' "$tmp/log"
	input=$(sed -n 's/.*Test unit written to //p' "$tmp/log" | tail -n 1)
	if [ -n "$input" ]; then
		echo "# LLFREE_FUZZ_TRACE=1 $fuzz $input"
		LLFREE_FUZZ_TRACE=1 timeout 60 "$fuzz" "$input" 2>&1 |
			sed -n 's/^# /#   /p'
	else
		sed 's/^/# /' "$tmp/log" | tail -n 40
	fi
}

if [ $merge ]; then
	mkdir -p "$kept"
	run_fuzz -set_cover_merge=1 "$tmp/new" "$tmp/seeds" "$kept" || {
		report
		exit 1
	}
	# Inputs in the order in which libFuzzer has found that they reach more code
	cd "$tmp/new" && ls -tr | head -n $MAX_SEEDS >"$tmp/list" &&
	{
		echo "# Inputs of fuzz.c. Written by run-fuzz.sh -m."
		xargs perl -0777 -ne 'print unpack("H*", $_), "\n"' \
			<"$tmp/list" | LC_ALL=C sort
	} >"$tmp/seeds.txt" || exit 1
	cd - >/dev/null && cp "$tmp/seeds.txt" "$corpus" &&
		wc -l "$corpus/seeds.txt"
	exit
fi

fail=0
echo "TAP version 13"
echo "1..2"
run_fuzz -runs=0 "$tmp/seeds"
if [ $? -eq 0 ] && [ "$inputs" -gt 0 ] &&
   grep -q "^Done $((inputs + 1)) runs" "$tmp/log"; then
	echo "ok 1 corpus of $inputs inputs"
else
	fail=1
	report
	echo "not ok 1 corpus of $inputs inputs"
fi

if [ "$jobs" -gt 0 ]; then
	mkdir -p "$kept"
	# Each job has a log in the working directory.
	cd "$tmp" || exit 1
	run_fuzz -jobs="$jobs" -workers="$jobs" \
		-max_total_time=$(((seconds + jobs - 1) / jobs)) \
		"$kept" "$tmp/seeds"
else
	run_fuzz -max_total_time="$seconds" "$tmp/new" "$tmp/seeds"
fi
if [ $? -eq 0 ]; then
	sed -n 's/^#\([0-9]*\)\tDONE */# \1 runs, /p' "$tmp/log"
	echo "ok 2 search for $seconds s"
else
	fail=1
	report
	echo "not ok 2 search for $seconds s"
fi
exit $fail
