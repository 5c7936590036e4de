#include "engine/ops/cpu/kernels.h"

#include <hwy/targets.h>

namespace gs::cpu {
namespace {

struct Choice {
    const char* name;
    const char* title;
    int64_t target;
    bool vnni = false, amx = false;
};

// "avx3_dl" is AVX-512 with VNNI: Highway 1.0.3 does not enable avx512vnni in its target of that name, so its loops come from AVX3 and the
// integer product from vnni.cpp. "amx" is the same but for prompts, which tiles multiply (vnni_amx.cpp).
constexpr Choice kChoices[] = {
#if defined(__x86_64__)
    {"amx", "AVX-512 VNNI + AMX", HWY_AVX3, true, true},
    {"avx3_dl", "AVX-512 VNNI", HWY_AVX3, true},
    {"avx3", "AVX-512", HWY_AVX3},
    {"avx2", "AVX2", HWY_AVX2},
    {"sse4", "SSE4", HWY_SSE4},
#else
    {"native", "native SIMD", HWY_STATIC_TARGET},
#endif
};

bool available(const Choice& choice) {
    return (hwy::SupportedTargets() & choice.target) != 0 && (!choice.vnni || vnni_supported()) && (!choice.amx || amx_supported());
}

}  // namespace

std::vector<std::string> available_kernels() {
    std::vector<std::string> names;
    for (const Choice& choice : kChoices)
        if (available(choice)) names.emplace_back(choice.name);
    return names;
}

std::optional<Kernels> choose_kernels(const std::string& name) {
    const Choice* chosen = nullptr;
    for (const Choice& choice : kChoices)
        if (available(choice) && (!chosen || name == choice.name)) chosen = &choice;
    if (!chosen) return std::nullopt;
    Kernels kernels;
    kernels.name = chosen->name;
    kernels.title = chosen->title;
    add_vector_kernels(kernels, chosen->target);
    add_exact_kernels(kernels, chosen->target);
    add_fast_kernels(kernels, chosen->target);
    add_fast_panel_kernels(kernels, chosen->target);
    add_attention_kernels(kernels, chosen->target);
    if (chosen->vnni) add_vnni_kernels(kernels);
    if (chosen->amx) add_amx_kernels(kernels);
    return kernels;
}

bool has_fast_product(TensorType type) {
    const TensorTypeInfo& info = tensor_type_info(type);
    return info.dequantize && info.block_values > 1;
}

bool has_tiles(TensorType type) {
    return has_fast_product(type) && tensor_type_info(type).block_values == kBlock && type != TensorType::kMXFP4;
}

}  // namespace gs::cpu
