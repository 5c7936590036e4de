#include "engine/routing/align.h"

#include <algorithm>

namespace gs {
namespace {

using Sequence = std::span<const int32_t>;

class Search {
public:
    Search(Sequence a, Sequence b, std::vector<std::pair<int, int>>& out) : m_a(a), m_b(b), m_out(out) {}

    /// Pairs of a[a_low, a_high) with b[b_low, b_high), in order.
    void run(int a_low, int a_high, int b_low, int b_high) {
        while (a_low < a_high && b_low < b_high && at(m_a, a_low) == at(m_b, b_low)) m_out.emplace_back(a_low++, b_low++);
        if (a_low >= a_high || b_low >= b_high) return;
        if (a_high - a_low == 1) {
            const auto in_b = m_b.subspan(static_cast<size_t>(b_low), static_cast<size_t>(b_high - b_low));
            const auto found = std::find(in_b.begin(), in_b.end(), at(m_a, a_low));
            if (found != in_b.end()) m_out.emplace_back(a_low, b_low + static_cast<int>(found - in_b.begin()));
            return;
        }
        const int middle = a_low + (a_high - a_low) / 2;
        const std::vector<int> head = lengths<false>(a_low, middle, b_low, b_high), tail = lengths<true>(middle, a_high, b_low, b_high);
        int best = 0;
        for (int j = 1; j <= b_high - b_low; ++j)
            if (head[static_cast<size_t>(j)] + tail[static_cast<size_t>(j)] > head[static_cast<size_t>(best)] + tail[static_cast<size_t>(best)]) best = j;
        run(a_low, middle, b_low, b_low + best);
        run(middle, a_high, b_low + best, b_high);
    }

private:
    static int32_t at(Sequence s, int i) { return s[static_cast<size_t>(i)]; }

    /// [j] length of the LCS of this piece of a and the first j (Backwards: all but the first j) elements of this piece of b.
    template <bool Backwards>
    std::vector<int> lengths(int a_low, int a_high, int b_low, int b_high) const {
        const int n = b_high - b_low;
        std::vector<int> row(static_cast<size_t>(n) + 1, 0);
        const auto cell = [&](int j) -> int& { return row[static_cast<size_t>(Backwards ? n - j : j)]; };
        for (int step = 0; step < a_high - a_low; ++step) {
            const int32_t x = at(m_a, Backwards ? a_high - 1 - step : a_low + step);
            int diagonal = 0;
            for (int j = 1; j <= n; ++j) {
                const int above = cell(j);
                cell(j) = x == at(m_b, Backwards ? b_high - j : b_low + j - 1) ? diagonal + 1 : std::max(above, cell(j - 1));
                diagonal = above;
            }
        }
        return row;
    }

    Sequence m_a, m_b;
    std::vector<std::pair<int, int>>& m_out;
};

}  // namespace

Alignment align(Sequence a, Sequence b, int64_t most_steps) {
    Alignment out;
    const int n_a = static_cast<int>(a.size()), n_b = static_cast<int>(b.size()), n_short = std::min(n_a, n_b);
    int head = 0, tail = 0;
    while (head < n_short && a[static_cast<size_t>(head)] == b[static_cast<size_t>(head)]) ++head;
    while (tail < n_short - head && a[static_cast<size_t>(n_a - 1 - tail)] == b[static_cast<size_t>(n_b - 1 - tail)]) ++tail;
    for (int i = 0; i < head; ++i) out.pairs.emplace_back(i, i);
    // Halving costs as much again as the first pass.
    out.exact = 2 * int64_t{n_a - head - tail} * int64_t{n_b - head - tail} <= most_steps;
    if (out.exact) Search(a, b, out.pairs).run(head, n_a - tail, head, n_b - tail);
    for (int i = tail; i > 0; --i) out.pairs.emplace_back(n_a - i, n_b - i);
    return out;
}

}  // namespace gs
