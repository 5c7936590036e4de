#include "engine/ops/host_readback.h"

namespace gs {
namespace {

class HostReadback final : public Readback {
public:
    HostReadback(Ops& ops, float* data) : m_ops(ops), m_data(data) {}
    ~HostReadback() override { m_ops.release(m_data); }
    float* data() override { return m_data; }
    void begin(size_t n_floats) override { m_n_floats = n_floats; }
    std::span<const float> end() override { return {m_data, m_n_floats}; }

private:
    Ops& m_ops;
    float* m_data;
    size_t m_n_floats = 0;
};

}  // namespace

std::unique_ptr<Readback> make_host_readback(Ops& ops, size_t n_floats) {
    float* data = ops.allocate(n_floats);
    if (!data) return nullptr;
    return std::make_unique<HostReadback>(ops, data);
}

}  // namespace gs
