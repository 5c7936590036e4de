#!/bin/bash
# Builds and runs every test: first the engine under AddressSanitizer and UBSan, then everything, window included.
#   tests/run.sh             all        tests/run.sh --quick   without the sanitizer pass
#   tests/run.sh -R Router   arguments after that go to ctest
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/dev
. "$root/app/setup.sh"
cd "$root"
sanitize=1
if [ "${1:-}" = --quick ]; then sanitize=0; shift; fi

install_packages $build_packages $test_packages

# The trace file test opens our file with the stock Python package: pinned, private to the build folder.
python=$root/build/python
stamp=$(sha256sum tests/io/requirements.txt)
if [ "$(cat "$python/.stamp" 2>/dev/null)" != "$stamp" ]; then
    rm -rf "$python"
    if python3 -m pip install --quiet --disable-pip-version-check --root-user-action=ignore --no-deps --require-hashes \
           --target "$python" -r tests/io/requirements.txt; then
        printf '%s' "$stamp" > "$python/.stamp"
    else
        say "the Python packages for one test could not be fetched; that test will be skipped"
    fi
fi
export PYTHONPATH=$python GATESCOPE_PYTHON=python3

# Which tests failed is said again at the end, because there are too many lines in between.
failures=""
test_preset() {
    build_preset "$1"
    failed=$root/build/$1/Testing/Temporary/LastTestsFailed.log
    rm -f "$failed"
    ctest --preset "$1" -j "$(nproc)" "${@:2}" && return
    failures="$failures
$1: $(tr '\n' ' ' < "$failed" 2>/dev/null || echo 'no list of failed tests')"
}
if [ $sanitize = 1 ]; then test_preset sanitize "$@"; fi
test_preset dev "$@"
[ -z "$failures" ] && exit
say "failed tests, as number:name:$failures"
exit 1
