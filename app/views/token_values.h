// What colours the token strip: one number (or one expert) per token, kept up to date token by token.
#pragma once

#include <string>
#include <vector>

#include "app/views/route_data.h"

namespace app {

class TokenValues {
public:
    /// Does nothing unless the trace, the quantity or the layer changed; appended tokens are added.
    void update(const gs::TraceSnapshot& trace, TokenColor what, int moe_layer);
    /// kTopExpert: the expert; else the number. NaN: the model gave none (first token, dense layer).
    float value(int token) const { return m_values[static_cast<size_t>(token)]; }
    float low() const { return 0; }
    float high() const { return m_high; }
    /// Top experts by how often they are first, at most 8: they get the eight hues, all others one grey (ux.md R25).
    const std::vector<std::pair<int, int>>& frequent_experts() const { return m_frequent; }
    ImU32 color(int token, ColorMap map) const;

private:
    float compute(int token);
    void count_experts(int n_experts);

    RouteReader m_reader;
    std::vector<float> m_values;
    std::vector<std::pair<int, int>> m_frequent;  ///< expert, tokens
    std::vector<int> m_hue;                       ///< [E] index of the hue, -1 = grey
    TokenColor m_what = TokenColor::kTopExpert;
    int m_layer = -1;
    uint64_t m_revision = 0;
    uint64_t m_generation = 0;
    TraceFollower m_follower;
    float m_high = 1;
};

const char* name_of(TokenColor what);

}  // namespace app
