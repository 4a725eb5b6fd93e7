#!/usr/bin/env bash
# Installs what is missing, builds, and runs every test: unit tests, the tree's structure, whole
# httpd servers on loopback, and a short run of the fuzzers.  Ends with one line that counts all.
set -euo pipefail
cd "$(dirname "$0")"
. scripts/packages.sh
install_missing "${packages_to_build[@]}" "${packages_to_test[@]}"

passed=0
failed=0

# count NAME PASSED FAILED
count() {
    passed=$((passed + $2))
    failed=$((failed + $3))
    printf '==> %s: %d passed, %d failed (at %d s)\n\n' "$1" "$2" "$3" "$SECONDS"
}

# suite NAME COMMAND...: a command that is one test.
suite() {
    local name=$1
    shift
    echo "==> $name"
    if "$@"; then count "$name" 1 0; else count "$name" 0 1; fi
}

# results_of FILE...: how many tests passed and how many failed, by what GoogleTest and pytest write; a
# file that is missing or cut off, as of a program that crashed, counts as a failure.
results_of() {
    /usr/bin/python3 - "$@" <<'PY'
import sys, xml.etree.ElementTree as tree
passed = failed = 0
for file in sys.argv[1:]:
    try:
        for case in tree.parse(file).iter("testcase"):
            ends = {end.tag for end in case}
            failed += bool(ends & {"failure", "error"})
            passed += not ends & {"failure", "error", "skipped"}
    except (OSError, tree.ParseError):
        failed += 1
print(passed, failed)
PY
}

# count_results NAME FILE...
count_results() {
    local passed_here failed_here
    read -r passed_here failed_here < <(results_of "${@:2}")
    count "$1" "$passed_here" "$failed_here"
}

# pytest_suite NAME FOLDER [OPTION...]: with Debian's own python, which has Debian's pytest.  What
# fails beside everything else is run once more, alone, and is said to have been.
pytest_suite() {
    local results=build/pytest.xml again=build/pytest_again.xml
    local pytest=(/usr/bin/python3 -m pytest -q -o cache_dir="$PWD/build/pytest_cache")
    rm -rf "$results" "$again" build/pytest_cache
    echo "==> $1"
    if "${pytest[@]}" --junitxml="$results" "${@:2}" || [ ! -e "$results" ]; then
        count_results "$1" "$results"
        return
    fi
    echo "==> $1: those that failed, once more"
    "${pytest[@]}" --junitxml="$again" --last-failed --last-failed-no-failures none "$2" || true
    local passed_before failed_before
    read -r passed_before failed_before < <(results_of "$results")
    count "$1, but for $failed_before" "$passed_before" 0
    count_results "$1, once more" "$again"
}

build() {
    cmake --preset "$1" > "build/configure-$1.log" 2>&1 &&
        cmake --build --preset "$1" > "build/build-$1.log" 2>&1 ||
        { cat "build/configure-$1.log"; tail -n 50 "build/build-$1.log"; return 1; }
}

# fuzz NAME SECONDS: from the inputs kept in the tree.
fuzz() {
    local new log=build/$1_fuzz.log
    new=$(mktemp -d)
    build/fuzz/"$1"_fuzz -max_total_time="$2" -max_len=2048 "$new" "tests/fuzz/corpus/$1" \
        > "$log" 2>&1
    local status=$?
    rm -rf "$new"
    [ $status = 0 ] || tail -n 60 "$log"
    return $status
}

declare -A fuzzer_seconds=([datagram]=30 [challenge]=10 [probe]=5 [response]=10)
unit_results=(build/dev/unit_tests_{0..3}.xml)

# What looks for more than wrong answers: the sanitizers' build, its unit tests, the fuzzers.  Its
# results are files.
sanitized() {
    rm -f "${unit_results[@]}" build/sanitized.built
    : > build/fuzzers.log
    build fuzz || return
    run_fuzzers > build/fuzzers.log &
    build dev && touch build/sanitized.built || return
    ctest --preset dev -j "${#unit_results[@]}" --quiet --output-log build/unit.log ||
        cat build/unit.log
    wait
}

run_fuzzers() {
    local name
    for name in "${!fuzzer_seconds[@]}"; do
        fuzz "$name" "${fuzzer_seconds[$name]}" && echo passed || echo failed
    done
}

mkdir -p build
suite "release build" build release
# The servers wait more than they compute: what else there is runs meanwhile, with what they leave.
sanitized > build/sanitized.log 2>&1 &
sanitized=$!
renice -n 19 $sanitized > /dev/null
pytest_suite "structure of the tree" tests/structure
suite "trust gates of the simulator" build/release/sim_gates
pytest_suite "whole servers" tests/server -n 4 --dist loadscope
wait $sanitized || true
cat build/sanitized.log
suite "build with sanitizers, and fuzzers" test -e build/sanitized.built
count_results "unit tests with sanitizers" "${unit_results[@]}"
count fuzzers "$(grep -c '^passed$' build/fuzzers.log)" "$(grep -c '^failed$' build/fuzzers.log)"

echo "$passed passed, $failed failed"
[ "$failed" = 0 ]
