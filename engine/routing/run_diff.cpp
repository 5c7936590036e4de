#include "engine/routing/run_diff.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <unordered_map>

#include <fmt/format.h>

#include "engine/routing/align.h"
#include "engine/routing/metrics.h"

namespace gs {
namespace {

/// True when equal ids mean equal text in both runs, and some id is in both.
bool same_tokenizer(const TraceSnapshot& a, const TraceSnapshot& b) {
    if (!a.info().model_hash.empty() && a.info().model_hash == b.info().model_hash) return true;
    if (a.info().lacks.text || b.info().lacks.text) return true;   // nothing speaks against it
    std::unordered_map<int32_t, const std::string*> text_of;
    for (int t = 0; t < a.n_tokens(); ++t) text_of.emplace(a.token(t).id, &a.token(t).text);
    bool shared = false;
    for (int t = 0; t < b.n_tokens(); ++t) {
        const auto known = text_of.find(b.token(t).id);
        if (known == text_of.end()) continue;
        if (*known->second != b.token(t).text) return false;
        shared = true;
    }
    return shared;
}

std::vector<int32_t> ids_of(const TraceSnapshot& trace) {
    std::vector<int32_t> ids;
    for (int t = 0; t < trace.n_tokens(); ++t) ids.push_back(trace.token(t).id);
    return ids;
}

/// Bytes of a run, and the token of each.
struct Bytes {
    std::vector<int32_t> values;
    std::vector<int> token, first;   ///< [bytes]; [T] first byte of each token

    explicit Bytes(const TraceSnapshot& trace) {
        for (int t = 0; t < trace.n_tokens(); ++t) {
            first.push_back(static_cast<int>(values.size()));
            for (const char c : trace.token(t).text) {
                values.push_back(static_cast<unsigned char>(c));
                token.push_back(t);
            }
        }
    }
    int length(const TraceSnapshot& trace, int t) const { return static_cast<int>(trace.token(t).text.size()); }
};

/// Tokens that cover the same stretch of the common bytes.
void pair_by_text(const TraceSnapshot& a, const TraceSnapshot& b, RunDiff& out) {
    const Bytes of_a(a), of_b(b);
    const Alignment common = align(of_a.values, of_b.values);
    out.exact = common.exact;
    std::vector<int> place_in_b(of_a.values.size(), -1);
    for (const auto& [i, j] : common.pairs) place_in_b[static_cast<size_t>(i)] = j;
    for (int t = 0; t < a.n_tokens(); ++t) {
        const int begin = of_a.first[static_cast<size_t>(t)], length = of_a.length(a, t);
        const int start = length > 0 ? place_in_b[static_cast<size_t>(begin)] : -1;
        if (start < 0) continue;
        const int other = of_b.token[static_cast<size_t>(start)];
        bool same = of_b.first[static_cast<size_t>(other)] == start && of_b.length(b, other) == length;
        for (int i = 0; i < length && same; ++i) same = place_in_b[static_cast<size_t>(begin + i)] == start + i;
        if (same) out.pairs.push_back({t, other});
    }
}

void pair_tokens(const TraceSnapshot& a, const TraceSnapshot& b, RunDiff& out) {
    const TraceLacks &of_a = a.info().lacks, &of_b = b.info().lacks;
    const bool ids = !of_a.token_ids && !of_b.token_ids, text = !of_a.text && !of_b.text;
    out.paired_by = ids && same_tokenizer(a, b) ? PairedBy::kIds : text ? PairedBy::kText : PairedBy::kPlace;
    if (out.paired_by == PairedBy::kIds) {
        const Alignment common = align(ids_of(a), ids_of(b));
        out.exact = common.exact;
        for (const auto& [i, j] : common.pairs) out.pairs.push_back({i, j});
    } else if (out.paired_by == PairedBy::kText) {
        pair_by_text(a, b, out);
    } else {
        for (int t = 0; t < std::min(a.n_tokens(), b.n_tokens()); ++t) out.pairs.push_back({t, t});
    }
    for (size_t i = 0; i <= out.pairs.size(); ++i) {
        const int place = static_cast<int>(i);
        if (i < out.pairs.size() && out.pairs[i] == TokenPair{place, place}) continue;
        if (place < std::max(a.n_tokens(), b.n_tokens())) out.first_token_difference = place;
        return;
    }
}

std::string why_not_comparable(const TraceSnapshot& a, const TraceSnapshot& b) {
    if (a.n_moe_layers() == 0 || b.n_moe_layers() == 0) return "One of the runs has no MoE layers.";
    if (a.n_moe_layers() == b.n_moe_layers() && a.n_experts() == b.n_experts()) return "";
    return fmt::format("The routers differ in size: {} MoE layers of {} experts in A, {} of {} in B.", a.n_moe_layers(), a.n_experts(), b.n_moe_layers(), b.n_experts());
}

/// Best-placed expert of `from` that is not in `other`.
int first_missing(std::span<const uint16_t> from, std::span<const uint16_t> other) {
    for (const uint16_t id : from)
        if (std::find(other.begin(), other.end(), id) == other.end()) return id;
    return -1;
}

/// Chance that two uniform independent sets of k_a and k_b of n experts are the same one: 1 / C(n, k).
double same_set_chance(int n, int k_a, int k_b) {
    if (k_a != k_b) return 0;
    return std::exp(std::lgamma(k_a + 1.0) + std::lgamma(n - k_a + 1.0) - std::lgamma(n + 1.0));
}

class Comparison {
public:
    Comparison(const TraceSnapshot& a, const TraceSnapshot& b, RunDiff& out) : m_a(a), m_b(b), m_out(out) {
        const auto n_experts = static_cast<size_t>(a.n_experts());
        m_p.resize(n_experts);
        m_q.resize(n_experts);
    }

    void run() {
        m_out.layers.resize(static_cast<size_t>(m_a.n_moe_layers()));
        if (m_a.has_logits() && m_b.has_logits())
            for (LayerDiff& layer : m_out.layers) layer.kl = 0;
        for (int pair = 0; pair < static_cast<int>(m_out.pairs.size()); ++pair) add_pair(pair);
        finish();
    }

private:
    void add_pair(int pair) {
        int n_flipped = 0;
        double same_everywhere = 1;
        for (int m = 0; m < m_a.n_moe_layers(); ++m) {
            const double chance = add_decision(pair, m, n_flipped);
            same_everywhere *= chance;
            m_out.mean_flipped_null += 1 - chance;
        }
        m_out.any_layer_flip_rate += n_flipped > 0;
        m_out.any_layer_flip_null += 1 - same_everywhere;
        m_out.mean_flipped_layers += n_flipped;
    }

    /// Chance that two uniform routers agree on this decision.
    double add_decision(int pair, int m, int& n_flipped) {
        const TokenPair tokens = m_out.pairs[static_cast<size_t>(pair)];
        const auto in_a = m_a.ids(m, tokens.a), in_b = m_b.ids(m, tokens.b);
        const int k_a = static_cast<int>(in_a.size()), k_b = static_cast<int>(in_b.size());
        const int n_shared = static_cast<int>(shared_ids(in_a, in_b));
        LayerDiff& layer = m_out.layers[static_cast<size_t>(m)];
        ++layer.n_decisions;
        layer.agreement += static_cast<double>(n_shared) / std::max(k_a, k_b);
        layer.agreement_null += static_cast<double>(std::min(k_a, k_b)) / m_a.n_experts();
        if (m_a.has_logits() && m_b.has_logits()) {
            preference(m_a.info().router, m_a.logits(m, tokens.a), m_p);
            preference(m_b.info().router, m_b.logits(m, tokens.b), m_q);
            layer.kl += kl_divergence(m_p, m_q);
        }
        if (n_shared < std::max(k_a, k_b)) {
            ++layer.n_flips;
            ++n_flipped;
            RouteFlip flip{pair, m, k_a, k_b, n_shared, first_missing(in_a, in_b), first_missing(in_b, in_a)};
            if (m_a.has_logits()) flip.margin = static_cast<float>(selection_margin(m_a.logits(m, tokens.a), in_a));
            m_out.flips.push_back(flip);
        }
        return same_set_chance(m_a.n_experts(), k_a, k_b);
    }

    void finish() {
        const auto n_pairs = static_cast<double>(m_out.pairs.size()), n_layers = static_cast<double>(m_out.layers.size());
        m_out.kl = 0;
        for (LayerDiff& layer : m_out.layers) {
            for (double* sum : {&layer.agreement, &layer.agreement_null, &layer.kl}) *sum /= n_pairs;
            m_out.agreement += layer.agreement;
            m_out.agreement_null += layer.agreement_null;
            m_out.kl += layer.kl;
        }
        for (double* sum : {&m_out.agreement, &m_out.agreement_null, &m_out.kl}) *sum /= n_layers;
        for (double* sum : {&m_out.any_layer_flip_rate, &m_out.any_layer_flip_null, &m_out.mean_flipped_layers, &m_out.mean_flipped_null}) *sum /= n_pairs;
        if (!m_out.flips.empty()) m_out.first_divergence = m_out.flips.front();
        const auto order = [](const RouteFlip& flip) { return std::isnan(flip.margin) ? -std::numeric_limits<float>::infinity() : flip.margin; };
        std::stable_sort(m_out.flips.begin(), m_out.flips.end(), [&](const RouteFlip& x, const RouteFlip& y) { return order(x) > order(y); });
    }

    const TraceSnapshot &m_a, &m_b;
    RunDiff& m_out;
    std::vector<float> m_p, m_q;
};

}  // namespace

const char* name_of(PairedBy by) {
    constexpr std::array names = {"token ids", "text", "place"};
    return names[static_cast<size_t>(by)];
}

double kl_divergence(std::span<const float> p, std::span<const float> q) {
    double sum_p = 0, sum_q = 0, kl = 0;
    for (size_t i = 0; i < p.size(); ++i) sum_p += p[i], sum_q += q[i];
    for (size_t i = 0; i < p.size(); ++i)
        if (p[i] > 0) kl += p[i] / sum_p * std::log(p[i] / sum_p / std::max(q[i] / sum_q, 1e-12));
    return std::max(kl, 0.0);   // rounding
}

RunDiff diff_runs(const TraceSnapshot& a, const TraceSnapshot& b) {
    RunDiff out;
    out.n_tokens_a = a.n_tokens(), out.n_tokens_b = b.n_tokens();
    pair_tokens(a, b, out);
    out.not_comparable = why_not_comparable(a, b);
    if (out.comparable()) Comparison(a, b, out).run();
    return out;
}

}  // namespace gs
