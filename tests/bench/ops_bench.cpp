// Times the CPU back end on a model file: prompt and generation, by operation, against this machine's read bandwidth. Prints; asserts nothing.
//
//   ops_bench [MODEL.gguf] [threads] [prompt tokens] [generated tokens] [repeats] [exact|fast]
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <ctime>
#include <memory>
#include <string>
#include <vector>

#include "engine/decode/decoder.h"
#include "engine/model/model.h"
#include "engine/ops/ops.h"
#include "tests/bench/read_bandwidth.h"

namespace gs {
namespace {

/// CPU time of all threads: on a busy machine this tells more than the clock on the wall (with one thread; others spin).
double cpu_now() { return static_cast<double>(std::clock()) / CLOCKS_PER_SEC; }

void print_ops(const Ops& ops, double seconds, int n_tokens) {
    for (const Ops::OpTime& t : ops.times())
        if (t.calls > 0)
            std::printf("    %-12s %8.1f us/token %5.1f %%  %7.0f calls  %6.1f GB/s\n", t.op, t.seconds / n_tokens * 1e6, t.seconds / seconds * 100,
                        static_cast<double>(t.calls), static_cast<double>(t.weight_bytes) / t.seconds / 1e9);
}

int run(int argc, char** argv) {
    const auto argument = [&](int i, const char* fallback) { return argc > i ? argv[i] : fallback; };
    const int n_threads = std::atoi(argument(2, "2")), n_prompt = std::atoi(argument(3, "512")), n_generated = std::atoi(argument(4, "64"));
    const int repeats = std::atoi(argument(5, "3"));
    const Precision precision = std::strcmp(argument(6, "fast"), "exact") == 0 ? Precision::kExact : Precision::kFast;
    Result<std::shared_ptr<const Model>> model = Model::load(argument(1, GATESCOPE_BUNDLED_MODEL), {});
    if (!model) return std::fprintf(stderr, "%s\n", model.error().message().c_str()), 1;
    std::shared_ptr<Ops> ops = make_cpu_ops({n_threads, precision});
    Result<std::unique_ptr<Decoder>> decoder = Decoder::create(*model, ops, {.n_ctx = n_prompt + n_generated + 1});
    if (!decoder) return std::fprintf(stderr, "%s\n", decoder.error().message().c_str()), 1;
    std::printf("%s; read bandwidth %.1f GB/s\n", ops->name().c_str(), read_bandwidth(n_threads));

    std::vector<int32_t> ids(static_cast<size_t>(n_prompt));
    for (size_t i = 0; i < ids.size(); ++i) ids[i] = static_cast<int32_t>((i * 7919 + 13) % static_cast<size_t>((*model)->spec.n_vocab));
    for (int repeat = 0; repeat < repeats; ++repeat) {
        ops->reset_times();
        double start = now(), cpu_start = cpu_now();
        if (auto r = (*decoder)->forward(ids, 0, LogitRows::kLast); !r) return std::fprintf(stderr, "%s\n", r.error().message().c_str()), 1;
        double seconds = now() - start;
        std::printf("prompt %d: %.1f tok/s, %.1f a CPU second\n", n_prompt, n_prompt / seconds, n_prompt / (cpu_now() - cpu_start));
        if (repeat == repeats - 1) print_ops(*ops, seconds, n_prompt);
        ops->reset_times();
        start = now();
        cpu_start = cpu_now();
        for (int i = 0; i < n_generated; ++i)
            if (auto r = (*decoder)->forward({ids.data() + i % n_prompt, 1}, i, LogitRows::kLast); !r) return 1;
        seconds = now() - start;
        std::printf("generate %d: %.1f tok/s, %.1f a CPU second\n", n_generated, n_generated / seconds, n_generated / (cpu_now() - cpu_start));
        if (repeat == repeats - 1) print_ops(*ops, seconds, n_generated);
    }
    return 0;
}

}  // namespace
}  // namespace gs

int main(int argc, char** argv) { return gs::run(argc, argv); }
