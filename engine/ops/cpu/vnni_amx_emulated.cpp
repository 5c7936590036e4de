// The AMX product over emulated tiles: what tests compare with vnni_gemm. A file of its own, which a program that does not ask for it leaves out.
#if defined(__x86_64__)
#include <immintrin.h>

#include <algorithm>
#include <cstring>

#include "engine/model/block_scales.h"
#include "engine/ops/cpu/vnni_input.h"

#pragma GCC push_options
#pragma GCC target("avx2,fma,f16c,avx512f,avx512bw,avx512vl,avx512dq,avx512vnni")
#include "engine/ops/cpu/vnni_amx.h"

namespace gs::cpu {

void amx_emulated_gemm(const std::byte* panel, const Weight& w, int n_rows, const std::byte* const* inputs, int n_tokens, float* out,
                       ptrdiff_t stride) {
    multiply<EmulatedTiles>(panel, w, n_rows, inputs, n_tokens, out, stride);
}

}  // namespace gs::cpu
#pragma GCC pop_options
#endif
