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

jobs=$(nproc)
failed=0
if [ $sanitize = 1 ]; then
    build_preset sanitize
    ctest --preset sanitize -j "$jobs" "$@" || failed=1
fi
build_preset dev
ctest --preset dev -j "$jobs" "$@" || failed=1
exit $failed
