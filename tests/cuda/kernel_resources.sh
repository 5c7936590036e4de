#!/bin/bash
# What each CUDA kernel takes, as ptxas says: registers, shared memory known when compiled, spilled bytes. Ends with 1 where a kernel spills.
#   tests/cuda/kernel_resources.sh           for compute capability 8.0
#   tests/cuda/kernel_resources.sh 90 120    for others; NVCC names the compiler
set -euo pipefail
root=$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)
nvcc=${NVCC:-$(command -v nvcc || echo /usr/local/cuda/bin/nvcc)}
[ $# -gt 0 ] || set -- 80
cubin=$(mktemp)
trap 'rm -f "$cubin"' EXIT

report() {   # architecture, source
    "$nvcc" -I"$root" -std=c++20 -O2 -arch="sm_$1" -Xptxas -v -cubin -o "$cubin" "$2" 2>&1 || { echo "error: $2 does not compile for sm_$1"; return 0; }
}

printf '%-5s %9s %7s %7s  %s\n' sm registers shared spilled kernel
spilled=0
for arch in "$@"; do
    for source in "$root"/engine/ops/cuda/*.cu; do
        # Three lines a kernel: its name, its spills, what it uses.
        table=$(report "$arch" "$source" | c++filt | awk -v arch="$arch" '
            /error/ { print; next }
            /Compiling entry function/ {
                name = $0
                sub(/.*Compiling entry function ./, "", name)
                sub(/. for .sm_.*/, "", name)
                gsub(/\(anonymous namespace\)::|_GLOBAL__N__[0-9A-Za-z_]*::|gs::cuda::|gs::/, "", name)
                sub(/^void /, "", name)
                gsub(/\(Format\)|\(int\)|\(bool\)/, "", name)
                sub(/\(.*/, "", name)
            }
            /bytes spill stores/ { spills = 0; for (i = 2; i < NF; ++i) if ($i == "bytes" && $(i + 1) == "spill") spills += $(i - 1) }
            /Used [0-9]+ registers/ {
                shared = 0
                for (i = 2; i <= NF; ++i) {
                    if ($i ~ /^registers/) registers = $(i - 1)
                    if ($i ~ /^smem/) shared = $(i - 2)
                }
                printf "%-5s %9d %7d %7d  %s\n", arch, registers, shared, spills, name
            }')
        [ -n "$table" ] && printf '%s\n' "$table"
        if printf '%s\n' "$table" | awk '/error/ || $4 > 0 { found = 1 } END { exit !found }'; then spilled=1; fi
    done
done
[ $spilled = 0 ] || { echo "a kernel spills registers, or does not compile" >&2; exit 1; }
