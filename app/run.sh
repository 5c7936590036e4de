#!/bin/bash
# Builds Gatescope if needed and starts it. Arguments go to the program: app/run.sh run --prompt "What is a llama?"
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)
build=$root/build/release
. "$root/app/setup.sh"
here=$PWD
cd "$root"
install_packages $build_packages
build_preset release
cd "$here"                                  # relative paths in the arguments are the user's

if [ $# -eq 0 ] && [ -z "${DISPLAY:-}${WAYLAND_DISPLAY:-}" ]; then
    picture=$build/bundled-run.png
    "$build/app/gatescope" screenshot --out "$picture"
    say "no display here. The bundled run was drawn to $picture"
    say "Without a display, try:"
    say "  app/run.sh run --prompt \"What is a llama?\"      answer, and the load of every expert"
    say "  app/run.sh sweep --text README.md               what each k costs on a text"
    say "  app/run.sh screenshot --out run.png --prompt \"Hello\""
    say "  app/run.sh --help                               everything else"
    exit 0
fi
exec "$build/app/gatescope" "$@"
