// gatescope bench: tokens/s, bytes per token and the share of this machine's read limit; capture on and off; by op. Prints, judges nothing.
#include <algorithm>
#include <chrono>
#include <thread>
#include <vector>

#include <fmt/format.h>

#include "app/cli/cli.h"
#include "app/cli/common.h"
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

class CountingSink final : public gs::RouteSink {
public:
    explicit CountingSink(gs::TraceInfo info) : m_writer(std::move(info)) {}
    void begin(std::span<const int32_t> ids, gs::Phase phase) {
        std::vector<gs::TokenRow> rows(ids.size());
        for (size_t i = 0; i < ids.size(); i++) rows[i] = {.id = ids[i], .phase = phase};
        m_writer.begin_tokens(rows, gs::Policy{});
    }
    void publish() { m_writer.publish(); }
    void on_route(int moe_layer, int first_row, int n_rows, std::span<const float> logits, std::span<const int32_t> ids, std::span<const float> weights,
                  std::span<const int32_t> n_used, int k_stride) override {
        const size_t n_experts = logits.size() / static_cast<size_t>(n_rows);
        for (int r = 0; r < n_rows; r++) {
            const size_t row = static_cast<size_t>(r), slot = row * static_cast<size_t>(k_stride), k = static_cast<size_t>(n_used[row]);
            m_writer.set_route(moe_layer, first_row + r, logits.subspan(row * n_experts, n_experts), ids.subspan(slot, k), weights.subspan(slot, k));
        }
    }

private:
    gs::TraceWriter m_writer;
};

struct Sample {
    double prefill_tokens_per_s = 0, decode_tokens_per_s = 0;
};

/// One prompt of n_prompt tokens, then n_decode single tokens; the ids are arbitrary, the cost does not depend on them.
static gs::Result<Sample> measure(gs::Decoder& decoder, int n_prompt, int n_decode, bool capture) {
    std::vector<int32_t> ids;
    for (int i = 0; i < n_prompt + n_decode; i++) ids.push_back(static_cast<int32_t>((7919LL * i + 13) % decoder.model().spec.n_vocab));
    CountingSink sink(gs::make_trace_info(decoder, {}, "raw"));
    decoder.set_sink(capture ? &sink : nullptr);
    const std::span<const int32_t> all(ids);
    Sample sample;
    auto start = Clock::now();
    if (capture) sink.begin(all.first(static_cast<size_t>(n_prompt)), gs::Phase::kPrefill);
    GS_TRY_VOID(decoder.forward(all.first(static_cast<size_t>(n_prompt)), 0, gs::LogitRows::kLast, &interrupt_flag()));
    if (capture) sink.publish();
    sample.prefill_tokens_per_s = n_prompt / seconds_since(start);
    start = Clock::now();
    for (int i = 0; i < n_decode; i++) {
        const auto one = all.subspan(static_cast<size_t>(n_prompt + i), 1);
        if (capture) sink.begin(one, gs::Phase::kDecode);
        GS_TRY_VOID(decoder.forward(one, n_prompt + i, gs::LogitRows::kLast, &interrupt_flag()));
        if (capture) sink.publish();
    }
    sample.decode_tokens_per_s = n_decode / seconds_since(start);
    decoder.set_sink(nullptr);
    return sample;
}

static double median(std::vector<double> values) {
    std::sort(values.begin(), values.end());
    return values[values.size() / 2];
}

struct BenchOptions {
    EngineOptions engine;
    int n_prompt = 512, n_decode = 64, repeats = 5;
    bool window = false, json = false;
};

/// Interleaved samples with capture on and off, so that a disturbance hits both.
static gs::Result<Json> bench_engine(const BenchOptions& o) {
    EngineOptions engine = o.engine;
    if (engine.n_ctx == 0) engine.n_ctx = o.n_prompt + o.n_decode;
    GS_TRY(auto decoder, open_decoder(engine));
    GS_TRY([[maybe_unused]] Sample warm_up, measure(*decoder, o.n_prompt, 4, true));
    std::vector<double> prefill[2], decode[2];
    decoder->ops().reset_times();
    for (int i = 0; i < o.repeats; i++)
        for (int capture = 0; capture < 2; capture++) {
            GS_TRY(Sample s, measure(*decoder, o.n_prompt, o.n_decode, capture == 1));
            prefill[capture].push_back(s.prefill_tokens_per_s);
            decode[capture].push_back(s.decode_tokens_per_s);
        }
    const gs::ModelCard card = gs::make_model_card(*decoder);
    const int n_threads = engine.n_threads ? engine.n_threads : static_cast<int>(std::thread::hardware_concurrency());
    const double bandwidth = measure_read_bandwidth(n_threads);
    const gs::ModelSpec& spec = decoder->model().spec;
    const double bytes = static_cast<double>(card.dense_bytes_per_token) +
                         static_cast<double>(card.expert_bytes) * spec.router.n_used * static_cast<double>(spec.moe_layers.size());
    Json ops = Json::array();
    for (const gs::Ops::OpTime& t : decoder->ops().times())
        ops.push_back({{"op", t.op}, {"seconds", t.seconds}, {"calls", t.calls}, {"GB_per_s", t.seconds > 0 ? t.weight_bytes / t.seconds / 1e9 : 0}});
    const double rate = median(decode[1]);
    return Json{{"model", spec.name},
                {"engine", card.engine},
                {"precision", card.precision},
                {"prompt_tokens", o.n_prompt},
                {"decode_tokens", o.n_decode},
                {"prefill_tokens_per_s", {{"capture", median(prefill[1])}, {"no_capture", median(prefill[0])}}},
                {"decode_tokens_per_s", {{"capture", rate}, {"no_capture", median(decode[0])}}},
                {"bytes_per_token", bytes},
                {"read_limit_GB_per_s", bandwidth / 1e9},
                {"share_of_read_limit", bandwidth > 0 ? bytes * rate / bandwidth : 0},
                {"ops", ops}};
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
    for (const Json& op : b["ops"])
        fmt::print("  {:<14}{:>9.3f} s{:>9} calls{:>9.1f} GB/s\n", op["op"].get<std::string>(), op["seconds"].get<double>(), op["calls"].get<uint64_t>(),
                   op["GB_per_s"].get<double>());
}

static int bench(const BenchOptions& o) {
    auto engine = bench_engine(o);
    if (!engine) return fail(engine.error());
    Json result = *engine;
    if (!o.json) print_bench(result);
    if (o.window) {
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
    command->add_flag("--window", options->window, "the window too: first frame, and the UI thread's time per frame at 4,096 tokens x 30 layers x 16 experts");
    command->add_flag("--json", options->json, "one JSON object");
    command->callback([options, &chosen] { chosen = [options] { return bench(*options); }; });
}

}  // namespace app
