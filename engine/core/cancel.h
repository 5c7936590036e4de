// A flag that one thread sets and another polls: between tokens, between layers, between blocks of a file.
#pragma once

#include <atomic>

namespace gs {

class CancelFlag {
public:
    void set() { m_set.store(true, std::memory_order_relaxed); }
    void clear() { m_set.store(false, std::memory_order_relaxed); }
    bool is_set() const { return m_set.load(std::memory_order_relaxed); }

private:
    std::atomic<bool> m_set{false};
};

}  // namespace gs
