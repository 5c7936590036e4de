// How keys and values of past tokens are kept.
#pragma once

#include <cstddef>
#include <cstdint>

namespace gs {

enum class KvType : uint8_t { kF32, kF16 };
constexpr size_t kv_value_bytes(KvType type) { return type == KvType::kF32 ? 4 : 2; }

}  // namespace gs
