# Sourced by app/run.sh and tests/run.sh: packages and build. Nothing here touches the network when everything is in place.

build_packages="cmake ninja-build g++ pkg-config ca-certificates python3-pip
  libfmt-dev nlohmann-json3-dev libcli11-dev libpcre2-dev libhwy-dev libxxhash-dev zlib1g-dev libstb-dev
  libglfw3-dev libvulkan-dev glslc mesa-vulkan-drivers"
fuzz_packages="clang libclang-rt-dev llvm"   # for tests/fuzz/run.sh alone
test_packages="libgtest-dev libboost-context-dev vulkan-validationlayers xvfb xauth xdotool x11-utils"

say() { printf '%s\n' "gatescope: $*" >&2; }

missing_packages() {   # names of the given Debian packages that are not installed
    local name
    for name in "$@"; do
        [ "$(dpkg-query -W -f='${db:Status-Status}' "$name" 2>/dev/null)" = installed ] || printf '%s ' "$name"
    done
}

install_packages() {   # best effort: a missing package is named, and the build then says what it lacks
    if ! command -v dpkg-query >/dev/null || ! command -v apt-get >/dev/null; then
        [ -e "$build/.packages_named" ] && return 0
        say "this is not a Debian system; if the build fails, install what matches these Debian packages:"
        say "  $(echo $*)"
        mkdir -p "$build" && touch "$build/.packages_named"
        return 0
    fi
    local missing as_root=""
    missing=$(missing_packages "$@")
    [ -n "$missing" ] || return 0
    if [ "$(id -u)" != 0 ]; then
        if ! command -v sudo >/dev/null; then
            say "missing packages, and neither root nor sudo to install them: $missing"
            say "as root: apt-get install --no-install-recommends $missing"
            return 0
        fi
        as_root=sudo
    fi
    say "installing packages: $missing"
    local quiet="-qq -o=Dpkg::Use-Pty=0"
    if ! { $as_root env DEBIAN_FRONTEND=noninteractive apt-get $quiet update &&
           $as_root env DEBIAN_FRONTEND=noninteractive apt-get $quiet install -y --no-install-recommends $missing >/dev/null; }; then
        say "the packages could not be installed (see above); going on with what is there"
    fi
}

build_preset() {       # configure once; ninja itself re-configures when a CMake file changes
    local preset=$1 dir=$root/build/$1
    if ! command -v cmake >/dev/null || ! command -v ninja >/dev/null; then
        say "cmake (3.25 or newer) and ninja are needed and were not found; nothing was built"
        return 1
    fi
    if [ ! -e "$dir/build.ninja" ]; then
        cmake --preset "$preset" >&2 || { rm -f "$dir/build.ninja"; say "configuring failed (see above)"; return 1; }
    fi
    # Quiet when nothing has changed, so that later starts show only the program's own output.
    local changed=""
    [ -e "$dir/.built" ] && changed=$(cd "$root" && find CMakeLists.txt app engine shaders tests -newer "$dir/.built" -print -quit)
    if [ -e "$dir/.built" ] && [ -z "$changed" ] && ninja -C "$dir" --quiet >/dev/null 2>&1; then return 0; fi
    ninja -C "$dir" >&2 || { say "building failed (see above)"; return 1; }
    touch "$dir/.built"
}
