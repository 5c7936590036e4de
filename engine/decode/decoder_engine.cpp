// What a decoder runs on.
#include <fmt/format.h>

#include <algorithm>

#include "engine/decode/decoder_state.h"

namespace gs {

std::vector<Ops*> Decoder::Impl::back_ends() const {
    std::vector<Ops*> all;
    for (const auto& stage : stages)
        if (std::find(all.begin(), all.end(), stage->ops.get()) == all.end()) all.push_back(stage->ops.get());
    return all;
}

Ops& Decoder::ops() const { return *m_impl->stages.back()->ops; }

std::vector<StageEngine> Decoder::stages() const {
    std::vector<StageEngine> engines;
    for (const auto& stage : m_impl->stages) engines.push_back({stage->ops, stage->first_layer, stage->end_layer});
    return engines;
}

/// The last stage first: it is the one on a device.
std::string Decoder::engine() const {
    const auto& stages = m_impl->stages;
    if (stages.size() == 1) return ops().name();
    std::string text;
    for (auto stage = stages.rbegin(); stage != stages.rend(); ++stage) {
        const int first = (*stage)->first_layer, last = (*stage)->end_layer - 1;
        text += fmt::format("{}{}: {}", text.empty() ? "" : "; ", (*stage)->ops->name(),
                            first == last ? fmt::format("layer {}", first) : fmt::format("layers {}-{}", first, last));
        if ((*stage)->is_last()) text += " and the head";
    }
    return text;
}

Precision Decoder::precision() const {
    const auto is_exact = [](const auto& stage) { return stage->ops->precision() == Precision::kExact; };
    return std::all_of(m_impl->stages.begin(), m_impl->stages.end(), is_exact) ? Precision::kExact : Precision::kFast;
}

Result<void> Decoder::check() const {
    for (const Ops* ops : m_impl->back_ends()) GS_TRY_VOID(ops->check());
    return {};
}

std::vector<Ops::OpTime> Decoder::times() const {
    std::vector<Ops::OpTime> sum;
    for (const Ops* ops : m_impl->back_ends()) add_times(sum, ops->times());
    return sum;
}

void Decoder::reset_times() {
    for (Ops* ops : m_impl->back_ends()) ops->reset_times();
}

}  // namespace gs
