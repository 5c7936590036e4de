// Internal to engine/run: what a policy changes in each MoE layer alone: the relative error of the routed output on the hidden states that native routing
// gives, so that nothing of the layers before is in it (metrics.md, k-sweep).
#pragma once

#include <span>
#include <vector>

#include "engine/run/evaluate_window.h"

namespace gs {

/// Means over tokens: of each layer, and of a token's mean over the layers.
struct LayerErrorTotals {
    std::vector<RunningMean> layers;         ///< [M]
    RunningMean all;
};

class LayerErrors {
public:
    /// Of at most about n_wanted tokens of the n_tokens from first_scored on, evenly spaced over the text.
    LayerErrors(Decoder& decoder, int first_scored, int n_tokens, int n_wanted);

    bool wants(int position) const;
    int n_wanted() const;
    /// What the router of a MoE layer reads for tokens at positions first.. of the text: the wanted ones are kept. Tap::kRouterInput of a native pass.
    void keep(int moe_layer, int first_position, std::span<const float> rows);
    /// Forgets what was kept of the window before.
    void begin_window();
    /// Native outputs of what was kept. Sets the decoder's policy.
    Result<void> run_native(const CancelFlag* cancel);
    /// Adds ‖y − y_native‖ / ‖y_native‖ of every token kept. Where the native output is 0 the error is 0 if the other is 0 too; else that layer is left out
    /// for that token. Sets the decoder's policy.
    Result<void> run(const Policy& policy, LayerErrorTotals& totals, const CancelFlag* cancel);

private:
    Result<void> outputs(size_t moe_layer, std::vector<float>& out, const CancelFlag* cancel);

    Decoder& m_decoder;
    size_t m_width;
    int m_first, m_end, m_stride;
    std::vector<std::vector<float>> m_inputs, m_native;   ///< [M] of [kept, D]
    std::vector<float> m_outputs;
};

}  // namespace gs
