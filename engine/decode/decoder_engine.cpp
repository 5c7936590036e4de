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

void Decoder::set_drawn_run(uint64_t run) { m_impl->shared.drawn_run = run; }
const std::string& Decoder::drawing() const { return m_impl->drawing; }

/// The last stage with routers is the one on a device, if any is.
void Decoder::share_routing(const std::shared_ptr<RoutingViewer>& viewer) {
    const auto& stages = m_impl->stages;
    const auto routes = [](const auto& stage) { return !stage->moe_layers.empty(); };
    const auto found = std::find_if(stages.rbegin(), stages.rend(), routes);
    m_impl->drawing.clear();
    if (!viewer || found == stages.rend()) return;
    DecoderStage& stage = **found;
    SharedLayout layout{.first_moe_layer = stage.n_moe_before, .n_layers = static_cast<int>(stage.moe_layers.size()), .n_experts = stage.spec().router.n_experts};
    layout = layout.within(viewer->most_bytes(), n_ctx());
    Result<std::unique_ptr<RoutingShare>> share = stage.ops->share_routing(viewer, layout);
    m_impl->drawing = share ? "read where the device wrote it" : "copied through the host's memory: " + share.error().why;
    if (share) stage.share = std::move(*share);
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
