// Prompts on processors with AMX beside AVX-512 VNNI (Intel's from Sapphire Rapids on). Where there is none, tests prove it with emulated tiles
// (tests/ops/amx_test.cpp: the arithmetic, and this machine code with its tile instructions carried out by a signal handler); on an Emerald Rapids they
// ran it as it is. Its speed there was that of the VNNI product, 0.9 to 1.1 times (README). Each process compares before it relies on it.
#include "engine/ops/cpu/vnni_input.h"

#if defined(__x86_64__) && defined(__linux__)
#include <cpuid.h>
#include <immintrin.h>
#include <sys/syscall.h>
#include <unistd.h>

#include <algorithm>
#include <cstring>

#include "engine/model/block_scales.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni,amx-tile,amx-int8")
#include "engine/ops/cpu/vnni_amx.h"

namespace gs::cpu {
namespace {

/// The processor's tiles, of one thread. The intrinsics of g++ 12 will not do where a tile's number is a template's constant (they make text of
/// it), nor do they say that a load reads memory (what was written for it could be left out: gcc.gnu.org PR114098).
class HardwareTiles {
public:
    explicit HardwareTiles(const TileConfig& config) { asm volatile("ldtilecfg %0" ::"m"(config)); }
    ~HardwareTiles() { asm volatile("tilerelease"); }
    HardwareTiles(const HardwareTiles&) = delete;
    HardwareTiles& operator=(const HardwareTiles&) = delete;

    template <int kTile>
    void zero() { asm volatile("tilezero %%tmm%c0" ::"i"(kTile)); }
    template <int kTile>
    void load(const void* from, ptrdiff_t stride) { asm volatile("tileloadd (%0,%1), %%tmm%c2" ::"r"(from), "r"(stride), "i"(kTile) : "memory"); }
    template <int kTile>
    void store(void* to, ptrdiff_t stride) { asm volatile("tilestored %%tmm%c2, (%0,%1)" ::"r"(to), "r"(stride), "i"(kTile) : "memory"); }
    template <int kSums, int kInputs, int kWeights>
    void multiply() { asm volatile("tdpbsud %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kSums), "i"(kInputs), "i"(kWeights)); }
};

bool processor_has_amx() {
    constexpr unsigned kTile = 1u << 24, kInt8 = 1u << 25;
    unsigned a = 0, b = 0, c = 0, d = 0;
    return __get_cpuid_count(7, 0, &a, &b, &c, &d) != 0 && (d & kTile) != 0 && (d & kInt8) != 0;
}

/// Linux saves tiles only for a process that has asked (arch/x86/xstate in its documentation); threads have what their process has.
bool linux_grants_tiles() {
    constexpr long kRequest = 0x1023, kTileData = 18;   // ARCH_REQ_XCOMP_PERM, XFEATURE_XTILEDATA
    return syscall(SYS_arch_prctl, kRequest, kTileData) == 0;
}

}  // namespace

bool amx_supported() {
    static const bool supported = vnni_supported() && processor_has_amx() && linux_grants_tiles() && agrees_with_vnni_gemm(multiply<HardwareTiles>);
    return supported;
}

void add_amx_kernels(Kernels& kernels) { kernels.fast.gemm = kernels.tiled.gemm = multiply<HardwareTiles>; }

}  // namespace gs::cpu
#pragma GCC pop_options

#else

namespace gs::cpu {
bool amx_supported() { return false; }
void add_amx_kernels(Kernels&) {}
}  // namespace gs::cpu

#endif
