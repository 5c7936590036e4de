#!/bin/bash
# Builds the fuzz targets with clang and runs them; ends with a table and, when anything was found, with exit code 1.
#   tests/fuzz/run.sh              each target for 60 seconds     tests/fuzz/run.sh 1200           for 20 minutes
#   tests/fuzz/run.sh 600 gguf     one target                     FUZZ_JOBS=4 tests/fuzz/run.sh    four at a time (2 otherwise)
#   FUZZ_TIMEOUT=60 tests/fuzz/run.sh   on a busy machine: one input may take so many seconds, 10 otherwise
# Inputs that reach new code are kept in build/fuzz/corpus and are where the next run goes on; findings are in build/fuzz/findings.
# A finding that is fixed goes to tests/fuzz/seeds/TARGET under a name that says what it did; the test FuzzSeeds runs it ever after.
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
build=$root/build/fuzz
here=$root/tests/fuzz
. "$root/app/setup.sh"
cd "$root"

seconds=60
case "${1:-}" in '' | *[!0-9]*) ;; *) seconds=$1; shift ;; esac
targets=${*:-gguf tokenizer chat trace policy decode}

install_packages $build_packages $fuzz_packages
if ! command -v clang++ >/dev/null; then
    say "the fuzz targets need clang (Debian packages $fuzz_packages)"
    exit 1
fi
[ -e "$build/build.ninja" ] || cmake --preset fuzz >&2
cmake --build --preset fuzz >&2
mkdir -p "$build/corpus" "$build/findings" "$build/logs"
"$build/tests/fuzz/make_seeds" "$build/built-seeds"

# What a target starts from beside what it found before.
seeds() {
    [ ! -d "$here/seeds/$1" ] || echo "$here/seeds/$1"
    case $1 in
        gguf) echo "$build/built-seeds/gguf" "$root/tests/goldens/bad" ;;
        decode) echo "$build/built-seeds/decode" "$root/tests/goldens/bad" ;;
        trace) echo "$build/built-seeds/trace" ;;
    esac
}

# Headers of models take a few kilobytes, their data may be left out (gguf_fuzz.cpp); the others are texts.
longest() {
    case $1 in
        gguf | decode | trace) echo 8192 ;;
        *) echo 1024 ;;
    esac
}

run_target() {
    local target=$1 dictionary=$here/dictionaries/$1.dict code=0
    [ "$target" != decode ] || dictionary=$here/dictionaries/gguf.dict
    mkdir -p "$build/corpus/$target"
    ASAN_OPTIONS=quarantine_size_mb=64 "$build/tests/fuzz/${target}_fuzz" "$build/corpus/$target" $(seeds "$target") \
        -dict="$dictionary" -max_len="$(longest "$target")" -max_total_time="$seconds" -rss_limit_mb=2048 -timeout="${FUZZ_TIMEOUT:-10}" \
        -malloc_limit_mb=1024 -print_final_stats=1 -artifact_prefix="$build/findings/$target-" > "$build/logs/$target" 2>&1 || code=$?
    echo $code > "$build/logs/$target.code"
}

# The last number behind a word of a log, 0 without one.
last() { { grep -aoE "$2 *[0-9]+" "$build/logs/$1" || echo 0; } | tail -1 | grep -oE '[0-9]+$'; }

for target in $targets; do
    rm -f "$build/logs/$target.code"
    while [ "$(jobs -rp | wc -l)" -ge "${FUZZ_JOBS:-2}" ]; do wait -n || true; done
    run_target "$target" &
done
wait

failed=0
printf '%-10s %8s %12s %8s %8s %9s\n' target seconds executions exec/s edges crashes
for target in $targets; do
    crashes=0
    if [ "$(cat "$build/logs/$target.code")" != 0 ]; then crashes=1 failed=1; fi
    took=$(last "$target" ' runs in')
    [ "$took" != 0 ] || took="< $seconds"
    printf '%-10s %8s %12s %8s %8s %9s\n' "$target" "$took" "$(last "$target" 'stat::number_of_executed_units:')" \
        "$(last "$target" 'stat::average_exec_per_sec:')" "$(last "$target" 'cov:')" "$crashes"
done
[ $failed = 0 ] || say "findings: $(cd "$build/findings" && ls -t | head -5 | tr '\n' ' ')in $build/findings, logs in $build/logs"
exit $failed
