// How an operation of a back end is compared with the reference. Internal to check_*.cpp.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstring>
#include <memory>
#include <random>
#include <string>
#include <utility>
#include <vector>

#include "engine/model/tensor_type.h"
#include "engine/run/check_ops.h"

namespace gs {

inline constexpr double kEpsilon = 0x1p-24;   // half a unit in the last place of f32

/// Rows in the memory of a back end, from values on the host.
class Sheet {
public:
    Sheet(Ops& ops, int n_rows, int n_cols, const std::vector<float>& values = {}) : m_ops(ops), m_rows{nullptr, n_rows, n_cols, n_cols} {
        m_rows.data = ops.allocate(size());
        if (!values.empty() && m_rows.data) ops.write(values.data(), m_rows.data, size());
    }
    ~Sheet() { m_ops.release(m_rows.data); }
    Sheet(const Sheet&) = delete;
    Sheet& operator=(const Sheet&) = delete;
    Rows rows() const { return m_rows; }
    int32_t* integers() const { return reinterpret_cast<int32_t*>(m_rows.data); }
    std::vector<float> read() const {
        std::vector<float> values(size(), NAN);
        if (m_rows.data) m_ops.read(m_rows.data, values.data(), size());
        return values;
    }

private:
    size_t size() const { return static_cast<size_t>(m_rows.n_rows) * static_cast<size_t>(m_rows.n_cols); }
    Ops& m_ops;
    Rows m_rows;
};

/// The same 32 bits each.
inline std::vector<float> as_floats(const std::vector<int32_t>& integers) {
    std::vector<float> floats(integers.size());
    std::memcpy(floats.data(), integers.data(), integers.size() * sizeof(float));
    return floats;
}

class OpsChecker {
public:
    OpsChecker(Ops& ops, uint32_t seed) : m_ops(ops), m_fast(ops.precision() == Precision::kFast), m_random(seed) {}

protected:
    std::vector<float> values(int n, float low = -1, float high = 1) {
        std::vector<float> v(static_cast<size_t>(n));
        for (float& x : v) x = std::uniform_real_distribution<float>(low, high)(m_random);
        return v;
    }

    /// Random blocks whose values are numbers of at most a thousand.
    Weight weight(TensorType type, int n_in, int n_out, int n_slabs = 1) {
        const TensorTypeInfo& info = tensor_type_info(type);
        const auto n_blocks = static_cast<size_t>(n_in) / info.block_values * static_cast<size_t>(n_out) * static_cast<size_t>(n_slabs);
        std::vector<std::byte>& bytes = m_weights.emplace_back(n_blocks * info.block_bytes);
        std::vector<float> decoded(info.block_values);
        for (size_t b = 0; b < n_blocks; ++b) {
            std::byte* block = bytes.data() + b * info.block_bytes;
            do {
                for (uint32_t i = 0; i < info.block_bytes; ++i) block[i] = static_cast<std::byte>(m_random() & 255u);
                info.dequantize(block, 1, decoded.data());
            } while (!std::all_of(decoded.begin(), decoded.end(), [](float v) { return std::isfinite(v) && std::fabs(v) <= 1000; }));
        }
        return {type, bytes.data(), n_in, n_out, n_slabs, static_cast<size_t>(n_in) / info.block_values * info.block_bytes};
    }

    /// `act` writes its result into the sheet it is given; both back ends run it and may differ by bound[i], or by bound[0] everywhere.
    template <class Act>
    void compare(const std::string& name, int n_rows, int n_cols, const std::vector<double>& bound, const Act& act, const std::vector<float>& start = {}) {
        Sheet ours(m_ops, n_rows, n_cols, start), oracle(*m_reference, n_rows, n_cols, start);
        act(m_ops, ours.rows());
        act(*m_reference, oracle.rows());
        const std::vector<float> a = ours.read(), b = oracle.read();
        OpsCheck check{name, true, 0};
        for (size_t i = 0; i < a.size(); ++i) {
            const double difference = std::fabs(static_cast<double>(a[i]) - static_cast<double>(b[i]));
            const double allowed = bound[bound.size() == 1 ? 0 : i] + kEpsilon * std::fabs(static_cast<double>(b[i]));
            if (!(difference <= allowed)) check.pass = false;
            if (difference > 0) check.worst = std::max(check.worst, difference / allowed);
        }
        m_checks.push_back(check);
    }

    Ops& m_ops;
    bool m_fast;
    std::unique_ptr<Ops> m_reference = make_reference_ops();
    std::mt19937 m_random;
    std::vector<std::vector<std::byte>> m_weights;
    std::vector<OpsCheck> m_checks;
};

/// Products with matrices, gated networks, mixtures.
std::vector<OpsCheck> check_products(Ops& ops);

}  // namespace gs
