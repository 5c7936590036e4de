// Times one product by tensor type: a token through weights that no cache holds, and a batch. Prints; asserts nothing.
//
//   types_bench [threads] [tokens of the batch] [exact|fast] [type …]
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <string>
#include <vector>

#include "engine/model/tensor_type.h"
#include "engine/ops/ops.h"
#include "tests/bench/read_bandwidth.h"

namespace gs {
namespace {

constexpr int kIn = 2048;

/// Best of some calls: seconds.
double seconds_of(Ops& ops, const Weight& w, int n_tokens, int repeats) {
    float* in = ops.allocate(static_cast<size_t>(n_tokens) * kIn);
    float* out = ops.allocate(static_cast<size_t>(n_tokens) * static_cast<size_t>(w.n_out));
    for (int i = 0; i < n_tokens * kIn; ++i) in[i] = static_cast<float>(i * 7919 % 1009) / 1009 - 0.5f;
    const LinearCall call{.weight = &w, .out = {out, n_tokens, w.n_out, w.n_out}};
    double best = 1e9;
    for (int i = 0; i < repeats; ++i) {
        const double start = now();
        ops.linear({in, n_tokens, kIn, kIn}, {&call, 1});
        best = std::min(best, now() - start);
    }
    ops.release(in);
    ops.release(out);
    return best;
}

int run(int argc, char** argv) {
    const int n_threads = argc > 1 ? std::atoi(argv[1]) : 2, n_tokens = argc > 2 ? std::atoi(argv[2]) : 64;
    const Precision precision = argc > 3 && std::strcmp(argv[3], "exact") == 0 ? Precision::kExact : Precision::kFast;
    const std::vector<std::string> wanted(argv + std::min(argc, 4), argv + argc);
    const std::unique_ptr<Ops> ops = make_cpu_ops({n_threads, precision});
    const double limit = read_bandwidth(n_threads);
    std::printf("%s; read bandwidth %.1f GB/s; rows of %d\n", ops->name().c_str(), limit, kIn);
    std::printf("%-8s %28s   %d tokens\n", "", "1 token", n_tokens);
    for (const TensorTypeInfo& type : all_tensor_types()) {
        if (!type.dequantize || (!wanted.empty() && std::find(wanted.begin(), wanted.end(), type.name) == wanted.end())) continue;
        const size_t row_bytes = kIn / type.block_values * type.block_bytes;
        Weight w{.type = type.type, .n_in = kIn, .n_out = static_cast<int>((size_t{128} << 20) / row_bytes), .row_bytes = row_bytes};
        // Random, so that code books are looked up all over. That some scales are infinite or no number costs these instructions nothing.
        std::vector<std::byte> bytes(row_bytes * static_cast<size_t>(w.n_out));
        uint32_t state = 1;
        for (std::byte& b : bytes) b = static_cast<std::byte>((state = state * 1664525 + 1013904223) >> 24);
        w.data = bytes.data();
        const double one = seconds_of(*ops, w, 1, 5);
        w.n_out = 2048;
        const double batch = seconds_of(*ops, w, n_tokens, 3);
        const double rate = static_cast<double>(bytes.size()) / one / 1e9, products = static_cast<double>(kIn) * w.n_out * n_tokens / batch;
        std::printf("%-8s %8.1f GB/s %5.1f %% of read   %8.1f G products/s\n", type.name, rate, rate / limit * 100, products / 1e9);
    }
    return 0;
}

}  // namespace
}  // namespace gs

int main(int argc, char** argv) { return gs::run(argc, argv); }
