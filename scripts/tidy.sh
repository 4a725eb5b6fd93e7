#!/usr/bin/env bash
# clang-tidy over our sources; takes some minutes, so it is run by hand rather than by test.sh.
set -euo pipefail
cd "$(dirname "$0")/.."
# The commands of a build by clang without precompiled headers: it cannot read those of g++.
[ -f build/tsan/compile_commands.json ] || cmake --preset tsan > /dev/null
files=("$@")
[ ${#files[@]} -gt 0 ] || mapfile -t files < <(git ls-files 'src/*.cc')
remarks=$(printf '%s\n' "${files[@]}" | xargs -P "$(nproc)" -n 1 \
    clang-tidy -p build/tsan --quiet --extra-arg=-Wno-unknown-warning-option 2>&1 |
    grep -vE '^[0-9]+ warnings? generated|^$' || true)
echo "${remarks:-clang-tidy has nothing to say}"
[ -z "$remarks" ]
