#include "engine/routing/specialization.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <unordered_map>

#include "engine/core/check.h"
#include "engine/routing/metrics.h"

namespace gs {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

double plogp(double count, double total) { return count > 0 ? count / total * std::log2(count / total) : 0; }

/// Counts [G, L, E] of assignments, and from them I(label; expert | given) and H(label | given).
class JointCounts {
public:
    JointCounts(int n_experts, int n_labels, int n_given)
        : m_experts(static_cast<size_t>(n_experts)), m_labels(static_cast<size_t>(n_labels)), m_given(static_cast<size_t>(n_given)),
          m_counts(m_experts * m_labels * m_given) {}

    void count(const LayerRoutes& routes, std::span<const int16_t> labels, std::span<const int16_t> given) {
        std::fill(m_counts.begin(), m_counts.end(), 0u);
        for (int t = 0; t < routes.n_tokens(); ++t) {
            const auto i = static_cast<size_t>(t);
            const int label = labels[i], stratum = given.empty() ? 0 : given[i];
            if (label < 0 || stratum < 0) continue;
            uint32_t* row = m_counts.data() + (static_cast<size_t>(stratum) * m_labels + static_cast<size_t>(label)) * m_experts;
            for (const uint16_t e : routes.of(t)) ++row[e];
        }
    }
    void measure(double& bits, double& entropy) const {
        double total = 0;
        for (const uint32_t c : m_counts) total += c;
        bits = entropy = 0;
        if (total == 0) return;
        // I = Σ_g H(L, g) + H(E, g) - H(L, E, g) - H(g), each as Σ p log p over the joint probabilities.
        std::vector<double> by_expert(m_experts);
        for (size_t g = 0; g < m_given; ++g) {
            std::fill(by_expert.begin(), by_expert.end(), 0.0);
            double of_stratum = 0, joint = 0, label_part = 0, expert_part = 0;
            for (size_t l = 0; l < m_labels; ++l) {
                double of_label = 0;
                const uint32_t* row = m_counts.data() + (g * m_labels + l) * m_experts;
                for (size_t e = 0; e < m_experts; ++e) {
                    joint += plogp(row[e], total);
                    of_label += row[e];
                    by_expert[e] += row[e];
                }
                label_part += plogp(of_label, total);
                of_stratum += of_label;
            }
            for (const double c : by_expert) expert_part += plogp(c, total);
            const double stratum_part = plogp(of_stratum, total);
            bits += joint + stratum_part - label_part - expert_part;
            entropy += stratum_part - label_part;
        }
        bits = std::max(bits, 0.0);
        entropy = std::max(entropy, 0.0);
    }

private:
    size_t m_experts, m_labels, m_given;
    std::vector<uint32_t> m_counts;
};

/// Occurrences of each id, as indices 0..n-1 in order of first appearance.
struct DenseIds {
    std::vector<int32_t> ids;                ///< [n]
    std::vector<uint32_t> of_token;          ///< [T]
    std::vector<uint32_t> n;                 ///< [n]

    explicit DenseIds(std::span<const int32_t> tokens) {
        std::unordered_map<int32_t, uint32_t> index;
        for (const int32_t id : tokens) {
            const auto [at, is_new] = index.try_emplace(id, static_cast<uint32_t>(ids.size()));
            if (is_new) {
                ids.push_back(id);
                n.push_back(0);
            }
            of_token.push_back(at->second);
            ++n[at->second];
        }
    }
};

double mean_best_share(const LayerRoutes& routes, std::span<const uint32_t> of_token, const std::vector<uint32_t>& n, uint32_t at_least,
                       std::vector<uint32_t>& counts) {
    const auto n_experts = static_cast<size_t>(routes.n_experts);
    counts.assign(n.size() * n_experts, 0);
    for (int t = 0; t < routes.n_tokens(); ++t)
        for (const uint16_t e : routes.of(t)) ++counts[of_token[static_cast<size_t>(t)] * n_experts + e];
    double sum = 0;
    int n_ids = 0;
    for (size_t i = 0; i < n.size(); ++i) {
        if (n[i] < at_least) continue;
        const auto* row = counts.data() + i * n_experts;
        sum += static_cast<double>(*std::max_element(row, row + n_experts)) / n[i];
        ++n_ids;
    }
    return n_ids > 0 ? sum / n_ids : 0;
}

}  // namespace

uint32_t LabelCounts::of_expert(int expert) const {
    uint32_t sum = 0;
    for (int l = 0; l < n_labels; ++l) sum += at(expert, l);
    return sum;
}

double LabelCounts::share(int expert, int label) const {
    const uint32_t n = tokens[static_cast<size_t>(label)];
    return n > 0 ? static_cast<double>(at(expert, label)) / n : kNan;
}

double LabelCounts::share(int expert) const { return n_tokens > 0 ? static_cast<double>(of_expert(expert)) / n_tokens : kNan; }

double LabelCounts::lift(int expert, int label) const {
    const double overall = share(expert);
    return overall > 0 ? share(expert, label) / overall : kNan;
}

Band LabelCounts::band(int expert, int label) const {
    const uint32_t n = tokens[static_cast<size_t>(label)];
    return hypergeometric_band(n_tokens, of_expert(expert), n).divided_by(n);
}

double LabelCounts::cv(int expert) const {
    double sum = 0, squares = 0;
    int n = 0;
    for (int l = 0; l < n_labels; ++l) {
        if (tokens[static_cast<size_t>(l)] == 0) continue;
        const double s = share(expert, l);
        sum += s;
        squares += s * s;
        ++n;
    }
    if (n == 0 || sum == 0) return kNan;
    const double mean = sum / n;
    return std::sqrt(std::max(0.0, squares / n - mean * mean)) / mean;
}

LabelCounts count_labels(const LayerRoutes& routes, std::span<const int16_t> labels, int n_labels) {
    GS_CHECK(labels.size() == static_cast<size_t>(routes.n_tokens()) && n_labels > 0, "a label for every token");
    LabelCounts out{.n_experts = routes.n_experts, .n_labels = n_labels};
    out.chosen.assign(static_cast<size_t>(routes.n_experts) * static_cast<size_t>(n_labels), 0);
    out.tokens.assign(static_cast<size_t>(n_labels), 0);
    for (int t = 0; t < routes.n_tokens(); ++t) {
        const int label = labels[static_cast<size_t>(t)];
        if (label < 0) continue;
        GS_CHECK(label < n_labels, "no such label");
        ++out.tokens[static_cast<size_t>(label)];
        ++out.n_tokens;
        for (const uint16_t e : routes.of(t)) ++out.chosen[static_cast<size_t>(e) * static_cast<size_t>(n_labels) + static_cast<size_t>(label)];
    }
    return out;
}

std::vector<double> label_divergence(const LabelCounts& counts) {
    const auto n = static_cast<size_t>(counts.n_labels), n_experts = static_cast<size_t>(counts.n_experts);
    std::vector<std::vector<uint32_t>> loads(n, std::vector<uint32_t>(n_experts));
    for (size_t l = 0; l < n; ++l)
        for (size_t e = 0; e < n_experts; ++e) loads[l][e] = counts.chosen[e * n + l];
    std::vector<double> bits(n * n);
    for (size_t a = 0; a < n; ++a)
        for (size_t b = 0; b < n; ++b) bits[a * n + b] = jensen_shannon_bits(loads[a], loads[b]);
    return bits;
}

ShuffledLabels shuffle_tokens(std::span<const int16_t> labels, std::span<const int16_t> strata, int n_shuffles, uint64_t seed) {
    GS_CHECK(strata.empty() || strata.size() == labels.size(), "a stratum for every token");
    std::vector<std::vector<size_t>> groups;
    for (size_t t = 0; t < labels.size(); ++t) {
        const int stratum = strata.empty() ? 0 : strata[t];
        if (labels[t] < 0 || stratum < 0) continue;
        if (groups.size() <= static_cast<size_t>(stratum)) groups.resize(static_cast<size_t>(stratum) + 1);
        groups[static_cast<size_t>(stratum)].push_back(t);
    }
    ShuffledLabels out;
    Shuffler shuffler(seed);
    for (int i = 0; i < n_shuffles; ++i) {
        Labels draw(labels.begin(), labels.end());
        for (const std::vector<size_t>& group : groups) {
            Labels values;
            for (const size_t t : group) values.push_back(labels[t]);
            shuffler.shuffle(std::span(values));
            for (size_t j = 0; j < group.size(); ++j) draw[group[j]] = values[j];
        }
        out.draws.push_back(std::move(draw));
    }
    return out;
}

ShuffledLabels shuffle_blocks(std::span<const int16_t> labels, std::span<const int16_t> segments, int block, int n_shuffles, uint64_t seed) {
    GS_CHECK(segments.size() == labels.size() && block > 0, "a segment for every token");
    std::vector<int> block_of(labels.size(), -1);
    Labels block_label;
    for (size_t t = 0; t < labels.size();) {
        size_t end = t;
        while (end < labels.size() && labels[end] == labels[t] && segments[end] == segments[t]) ++end;
        const auto length = end - t, size = static_cast<size_t>(block);
        const size_t n = std::max<size_t>(1, (length + size / 2) / size);
        if (labels[t] >= 0) {
            for (size_t j = 0; j < length; ++j) block_of[t + j] = static_cast<int>(block_label.size() + std::min(j / size, n - 1));
            block_label.insert(block_label.end(), n, labels[t]);
        }
        t = end;
    }
    ShuffledLabels out;
    Shuffler shuffler(seed);
    for (int i = 0; i < n_shuffles; ++i) {
        Labels dealt = block_label, draw(labels.begin(), labels.end());
        shuffler.shuffle(std::span(dealt));
        for (size_t t = 0; t < draw.size(); ++t)
            if (block_of[t] >= 0) draw[t] = dealt[static_cast<size_t>(block_of[t])];
        out.draws.push_back(std::move(draw));
    }
    return out;
}

Information label_information(const LayerRoutes& routes, std::span<const int16_t> labels, int n_labels, std::span<const int16_t> given, int n_given,
                              const ShuffledLabels& shuffled) {
    GS_CHECK(labels.size() == static_cast<size_t>(routes.n_tokens()) && (given.empty() || given.size() == labels.size()), "a label for every token");
    Information out;
    JointCounts counts(routes.n_experts, n_labels, given.empty() ? 1 : n_given);
    counts.count(routes, labels, given);
    counts.measure(out.bits, out.entropy);
    std::vector<double> samples;
    for (const Labels& draw : shuffled.draws) {
        double bits = 0, entropy = 0;
        counts.count(routes, draw, given);
        counts.measure(bits, entropy);
        samples.push_back(bits);
    }
    out.null = summarise(std::move(samples));
    return out;
}

std::vector<TokenLift> token_lift(const LayerRoutes& routes, int expert, std::span<const int32_t> token_ids, uint32_t at_least) {
    GS_CHECK(token_ids.size() == static_cast<size_t>(routes.n_tokens()), "an id for every token");
    const DenseIds dense(token_ids);
    std::vector<uint32_t> chosen(dense.ids.size());
    uint32_t n_chosen = 0;
    for (int t = 0; t < routes.n_tokens(); ++t) {
        const auto ids = routes.of(t);
        if (std::find(ids.begin(), ids.end(), expert) == ids.end()) continue;
        ++chosen[dense.of_token[static_cast<size_t>(t)]];
        ++n_chosen;
    }
    std::vector<TokenLift> out;
    if (n_chosen == 0) return out;
    const auto n_tokens = static_cast<uint32_t>(routes.n_tokens());
    const double overall = static_cast<double>(n_chosen) / n_tokens;
    for (size_t i = 0; i < dense.ids.size(); ++i) {
        if (dense.n[i] < at_least) continue;
        const Band band = hypergeometric_band(n_tokens, n_chosen, dense.n[i]).divided_by(dense.n[i] * overall);
        out.push_back({dense.ids[i], dense.n[i], chosen[i], static_cast<double>(chosen[i]) / dense.n[i] / overall, band});
    }
    std::stable_sort(out.begin(), out.end(), [](const TokenLift& a, const TokenLift& b) { return a.lift != b.lift ? a.lift > b.lift : a.n > b.n; });
    return out;
}

VocabularySpecialization vocabulary_specialization(const LayerRoutes& routes, std::span<const int32_t> token_ids, uint32_t at_least, int n_shuffles, uint64_t seed) {
    GS_CHECK(token_ids.size() == static_cast<size_t>(routes.n_tokens()), "an id for every token");
    const DenseIds dense(token_ids);
    VocabularySpecialization out;
    std::vector<uint32_t> scratch;
    out.n_ids = static_cast<int>(std::count_if(dense.n.begin(), dense.n.end(), [&](uint32_t n) { return n >= at_least; }));
    out.mean = mean_best_share(routes, dense.of_token, dense.n, at_least, scratch);
    std::vector<double> samples;
    std::vector<uint32_t> dealt = dense.of_token;
    Shuffler shuffler(seed);
    for (int i = 0; i < n_shuffles; ++i) {
        shuffler.shuffle(std::span(dealt));
        samples.push_back(mean_best_share(routes, dealt, dense.n, at_least, scratch));
    }
    out.null = summarise(std::move(samples));
    return out;
}

}  // namespace gs
