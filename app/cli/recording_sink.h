// Records what a decoder routes, for commands that drive one themselves.
#pragma once

#include <utility>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/routing/trace.h"

namespace app {

/// begin() before a forward pass of these tokens, publish() after it.
class RecordingSink final : public gs::RouteSink {
public:
    explicit RecordingSink(gs::TraceInfo info) : m_writer(std::move(info)) {}
    void begin(std::span<const int32_t> ids, gs::Phase phase) {
        std::vector<gs::TokenRow> rows(ids.size());
        for (size_t i = 0; i < ids.size(); i++) rows[i] = {.id = ids[i], .phase = phase};
        m_writer.begin_tokens(rows, gs::Policy{});
    }
    void publish() { m_writer.publish(); }
    gs::TraceSnapshot snapshot() const { return m_writer.snapshot(); }
    void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids, std::span<const float> weights,
                  std::span<const int32_t> n_used, int k_stride) override {
        const size_t n_experts = logits.size() / static_cast<size_t>(n_rows);
        for (int r = 0; r < n_rows; r++) {
            const size_t row = static_cast<size_t>(r), slot = row * static_cast<size_t>(k_stride), k = static_cast<size_t>(n_used[row]);
            m_writer.set_route(moe_layer, first_row + r, logits.subspan(row * n_experts, n_experts), ids.subspan(slot, k), weights.subspan(slot, k));
        }
    }

private:
    gs::TraceWriter m_writer;
};

}  // namespace app
