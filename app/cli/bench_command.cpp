// gatescope bench: tokens/s, bytes per token and the share of this machine's read limit; capture on and off; by op. Prints, judges nothing.
#include <algorithm>
#include <chrono>
#include <fstream>
#include <sstream>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
#include "app/cli/recording_sink.h"
#include "app/cli/window_bench.h"
#include "engine/run/generator.h"

namespace app {

using Clock = std::chrono::steady_clock;

static double seconds_since(Clock::time_point start) { return std::chrono::duration<double>(Clock::now() - start).count(); }

/// Bytes per second that `n_threads` threads can read from memory: best of 5 passes over 256 MB each.
static double measure_read_bandwidth(int n_threads) {
    constexpr size_t kWords = (256u << 20) / sizeof(uint64_t);
    std::vector<std::vector<uint64_t>> buffers(static_cast<size_t>(n_threads), std::vector<uint64_t>(kWords, 1));
    double best = 0;
    std::vector<uint64_t> sums(static_cast<size_t>(n_threads));
    for (int pass = 0; pass < 5; pass++) {
        const auto start = Clock::now();
        std::vector<std::thread> threads;
        for (size_t i = 0; i < buffers.size(); i++)
            threads.emplace_back([&, i] {
                uint64_t lanes[16] = {};         // independent sums, so that the loop is bound by memory and not by one addition chain
                for (size_t w = 0; w < kWords; w += 16)
                    for (size_t l = 0; l < 16; l++) lanes[l] += buffers[i][w + l];
                for (uint64_t lane : lanes) sums[i] += lane;
            });
        for (std::thread& t : threads) t.join();
        best = std::max(best, static_cast<double>(kWords) * sizeof(uint64_t) * n_threads / seconds_since(start));
    }
    // Every word is 1 and each pass adds them all: a wrong sum would mean the loop was optimised away.
    for (uint64_t sum : sums)
        if (sum != 5 * kWords) return 0;
    return best;
}

/// Products per second of the back end's own kernels where nothing comes from memory: one of the model's matrices that a cache holds, times a batch. 0 where
/// there is none so small.
static double measure_product_limit(const gs::Decoder& decoder) {
    constexpr size_t kMostBytes = 4u << 20;
    constexpr int kTokens = 256, kCalls = 8;
    gs::Ops& ops = decoder.ops();
    gs::Weight chosen;   // one that it has adopted
    const gs::StageEngine stage = decoder.stages().back();
    for (const gs::Weight& w : decoder.model().weights.matrices(stage.first_layer, stage.end_layer)) {
        if (!w || gs::tensor_type_info(w.type).block_values == 1) continue;
        const gs::Weight slab = w.slab(0);      // one expert's
        if (slab.n_bytes() <= kMostBytes && slab.slab_values() > chosen.slab_values()) chosen = slab;
    }
    if (!chosen) return 0;
    float* x = ops.allocate(static_cast<size_t>(kTokens) * static_cast<size_t>(chosen.n_in));
    float* y = ops.allocate(static_cast<size_t>(kTokens) * static_cast<size_t>(chosen.n_out));
    const gs::LinearCall call{.weight = &chosen, .out = {y, kTokens, chosen.n_out, chosen.n_out}};
    double best = 0;
    for (int i = 0; i < kCalls && x && y; i++) {
        const auto start = Clock::now();
        ops.linear({x, kTokens, chosen.n_in, chosen.n_in}, {&call, 1});
        float done = 0;
        ops.read(y, &done, 1);
        best = std::max(best, static_cast<double>(chosen.slab_values()) * kTokens / seconds_since(start));
    }
    ops.release(x);
    ops.release(y);
    return best;
}

using OpTimes = std::vector<gs::Ops::OpTime>;

struct Sample {
    double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
    OpTimes prefill, decode;
};

/// One prompt of n_prompt tokens, then n_decode single tokens; the ids are arbitrary, the cost does not depend on them.
static gs::Result<Sample> measure(gs::Decoder& decoder, int n_prompt, int n_decode, bool capture) {
    std::vector<int32_t> ids;
    for (int i = 0; i < n_prompt + n_decode; i++) ids.push_back(static_cast<int32_t>((7919LL * i + 13) % decoder.model().spec.n_vocab));
    RecordingSink sink(gs::make_trace_info(decoder, {}, "raw"));
    decoder.set_sink(capture ? &sink : nullptr);
    const std::span<const int32_t> all(ids);
    Sample sample;
    const auto forward = [&](int first, int n, gs::Phase phase) -> gs::Result<void> {
        const auto part = all.subspan(static_cast<size_t>(first), static_cast<size_t>(n));
        if (capture) sink.begin(part, phase);
        GS_TRY_VOID(decoder.forward(part, first, gs::LogitRows::kLast, &interrupt_flag()));
        if (capture) sink.publish();
        return {};
    };
    decoder.reset_times();
    auto start = Clock::now();
    GS_TRY_VOID(forward(0, n_prompt, gs::Phase::kPrefill));
    sample.prefill_tokens_per_s = n_prompt / seconds_since(start);
    sample.prefill = decoder.times();
    decoder.reset_times();
    start = Clock::now();
    for (int i = 0; i < n_decode; i++) GS_TRY_VOID(forward(n_prompt + i, 1, gs::Phase::kDecode));
    sample.decode_tokens_per_s = n_decode / seconds_since(start);
    sample.decode = decoder.times();
    decoder.set_sink(nullptr);
    return sample;
}

/// Resident memory of this process: what it allocated, and pages of mapped files. Bytes.
struct Resident {
    uint64_t anonymous = 0, mapped = 0;
};
static Resident resident_memory() {
    std::ifstream file("/proc/self/status");
    Resident result;
    std::string key;
    uint64_t value = 0;
    for (std::string line; std::getline(file, line);) {
        std::istringstream in(line);
        if (!(in >> key >> value)) continue;
        if (key == "RssAnon:") result.anonymous = value * 1024;
        if (key == "RssFile:" || key == "RssShmem:") result.mapped += value * 1024;
    }
    return result;
}

static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

struct BenchOptions {
    EngineOptions engine;
    int n_prompt = 512, n_decode = 64, repeats = 5;
    bool window = false, only_window = false, json = false;
};

/// What a machine can do at most, measured: bytes read and products made a second.
struct Limits {
    double read = 0, products = 0;
};

/// What an op takes of a phase. Bytes are those of weights, in attention of keys and values.
static Json op_json(const OpTimes& times, int n_tokens, const Limits& limits) {
    double all = 0;
    for (const auto& t : times) all += t.seconds;
    const auto share = [](double rate, double limit) { return limit > 0 ? rate / limit : 0; };
    Json ops = Json::array();
    for (const auto& t : times) {
        if (t.calls == 0) continue;
        const auto rate = [&](uint64_t n) { return t.seconds > 0 ? static_cast<double>(n) / t.seconds : 0; };
        const double read = rate(t.weight_bytes), products = rate(t.products);
        ops.push_back({{"op", t.op}, {"us_per_token", t.seconds / n_tokens * 1e6}, {"share_of_time", share(t.seconds, all)}, {"calls", t.calls},
                       {"GB_per_s", read / 1e9}, {"share_of_read_limit", share(read, limits.read)},
                       {"G_products_per_s", products / 1e9}, {"share_of_product_limit", limits.products > 0 ? Json(share(products, limits.products)) : Json()}});
    }
    return ops;
}

/// Interleaved samples with capture on and off, so that a disturbance hits both.
static gs::Result<Json> bench_engine(const BenchOptions& o) {
    constexpr int kWarmUp = 4;
    EngineOptions engine = o.engine;
    if (engine.n_ctx == 0) engine.n_ctx = o.n_prompt + std::max(o.n_decode, kWarmUp);
    const auto start = Clock::now();
    GS_TRY(auto decoder, open_decoder(engine));
    const double load_seconds = seconds_since(start);
    GS_TRY([[maybe_unused]] Sample first, measure(*decoder, 1, 1, true));
    const double first_token_seconds = seconds_since(start);
    GS_TRY([[maybe_unused]] Sample warm_up, measure(*decoder, o.n_prompt, kWarmUp, true));
    std::vector<double> prefill[2], decode[2];
    OpTimes prefill_ops, decode_ops;
    for (int i = 0; i < o.repeats; i++)
        for (int capture = 0; capture < 2; capture++) {
            GS_TRY(Sample s, measure(*decoder, o.n_prompt, o.n_decode, capture == 1));
            prefill[capture].push_back(s.prefill_tokens_per_s);
            decode[capture].push_back(s.decode_tokens_per_s);
            add_times(prefill_ops, s.prefill);
            add_times(decode_ops, s.decode);
        }
    const Resident resident = resident_memory();
    const gs::ModelCard card = gs::make_model_card(*decoder);
    const int n_threads = engine.n_threads ? engine.n_threads : static_cast<int>(std::thread::hardware_concurrency());
    const double bandwidth = measure_read_bandwidth(n_threads);
    const Limits limits{bandwidth, measure_product_limit(*decoder)};
    const gs::ModelSpec& spec = decoder->model().spec;
    const double bytes = static_cast<double>(card.dense_bytes_per_token) +
                         static_cast<double>(card.expert_bytes) * spec.router.n_used * static_cast<double>(spec.moe_layers.size());
    const double rate = median(decode[1]);
    return Json{{"model", spec.name},
                {"engine", card.engine},
                {"precision", card.precision},
                {"load_s", load_seconds},
                {"first_token_s", first_token_seconds},
                {"prompt_tokens", o.n_prompt},
                {"decode_tokens", o.n_decode},
                {"prefill_tokens_per_s", {{"capture", median(prefill[1])}, {"no_capture", median(prefill[0])}}},
                {"decode_tokens_per_s", {{"capture", rate}, {"no_capture", median(decode[0])}}},
                {"bytes_per_token", bytes},
                {"read_limit_GB_per_s", bandwidth / 1e9},
                {"product_limit_G_per_s", limits.products > 0 ? Json(limits.products / 1e9) : Json()},
                {"share_of_read_limit", bandwidth > 0 ? bytes * rate / bandwidth : 0},
                {"memory", {{"anonymous", resident.anonymous}, {"mapped", resident.mapped}, {"file", card.file_bytes}, {"kv", card.kv_bytes}}},
                {"prefill_ops", op_json(prefill_ops, o.n_prompt * 2 * o.repeats, limits)},
                {"decode_ops", op_json(decode_ops, o.n_decode * 2 * o.repeats, limits)}};
}

/// A prompt is bound by products, decoding by reading.
static void print_ops(const char* phase, const Json& ops, const char* unit, const char* rate, const char* share) {
    fmt::print("{:<16}{:>12}{:>10}{:>15}{:>15}\n", phase, "us a token", "of time", unit, "of the limit");
    for (const Json& op : ops) {
        fmt::print("  {:<14}{:>12.1f}{:>8.1f} %", op["op"].get<std::string>(), op["us_per_token"].get<double>(), 100 * op["share_of_time"].get<double>());
        if (op[rate].get<double>() > 0) fmt::print("{:>15.1f}", op[rate].get<double>());
        if (op[rate].get<double>() > 0 && !op[share].is_null()) fmt::print("{:>13.0f} %", 100 * op[share].get<double>());
        fmt::print("\n");
    }
}

static void print_bench(const Json& b) {
    fmt::print("{} on {}, {} precision; median, capture on / off\n", b["model"].get<std::string>(), b["engine"].get<std::string>(), b["precision"].get<std::string>());
    const auto pair = [&](const char* key) { return std::pair(b[key]["capture"].get<double>(), b[key]["no_capture"].get<double>()); };
    const auto [prefill_on, prefill_off] = pair("prefill_tokens_per_s");
    const auto [decode_on, decode_off] = pair("decode_tokens_per_s");
    fmt::print("prompt of {}: {:.1f} / {:.1f} tokens/s\ndecode of {}: {:.1f} / {:.1f} tokens/s\n", b["prompt_tokens"].get<int>(), prefill_on, prefill_off,
               b["decode_tokens"].get<int>(), decode_on, decode_off);
    fmt::print("{:.1f} MB of weights per token = {:.1f} GB/s, {:.0f} % of the read limit measured here ({:.1f} GB/s)\n", b["bytes_per_token"].get<double>() / 1e6,
               b["bytes_per_token"].get<double>() * decode_on / 1e9, 100 * b["share_of_read_limit"].get<double>(), b["read_limit_GB_per_s"].get<double>());
    const Json& m = b["memory"];
    const auto mb = [&](const char* key) { return static_cast<double>(m[key].get<uint64_t>()) / 1e6; };
    fmt::print("loaded in {:.2f} s, first token after {:.2f} s; resident {:.0f} MB of its own ({:.0f} MB keys and values) and {:.0f} MB of the {:.0f} MB file\n",
               b["load_s"].get<double>(), b["first_token_s"].get<double>(), mb("anonymous"), mb("kv"), mb("mapped"), mb("file"));
    const Json& limit = b["product_limit_G_per_s"];
    fmt::print("product limit, in cache: {}\n", limit.is_null() ? "not measured, no matrix of this model is so small" : fmt::format("{:.1f} G products/s", limit.get<double>()));
    print_ops("prompt", b["prefill_ops"], "G products/s", "G_products_per_s", "share_of_product_limit");
    print_ops("decode", b["decode_ops"], "GB/s read", "GB_per_s", "share_of_read_limit");
}

static int bench(const BenchOptions& o) {
    Json result = Json::object();
    if (!o.only_window) {
        auto engine = bench_engine(o);
        if (!engine) return fail(engine.error());
        result = *engine;
        if (!o.json) print_bench(result);
    }
    if (o.window || o.only_window) {
        auto window = bench_window();
        if (!window) return fail(window.error());
        result["window"] = *window;
        if (!o.json) fmt::print("window: {}\n", window->dump());
    }
    if (o.json) print_json(result);
    return 0;
}

void add_bench_command(CLI::App& root, CommandBody& chosen) {
    auto options = std::make_shared<BenchOptions>();
    CLI::App* command = root.add_subcommand("bench", "Tokens/s, bytes per token and the share of this machine's limit");
    command->footer("Example: gatescope bench --window");
    add_engine_options(*command, options->engine);
    command->add_option("--prompt-tokens", options->n_prompt, "length of the prompt")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    command->add_option("--decode-tokens", options->n_decode, "tokens decoded one by one")->check(CLI::Range(1, 1 << 20))->capture_default_str();
    command->add_option("--repeats", options->repeats, "samples; the median is shown")->check(CLI::Range(1, 1000))->capture_default_str();
    command->add_flag("--window", options->window, "the window too: first frame, and the UI thread's time per frame at 4,096 tokens x 48 layers x 128 experts");
    command->add_flag("--only-window", options->only_window, "the window alone");
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] { chosen = [options] { return bench(*options); }; });
}

}  // namespace app
