#include "tests/io/import_files.h"

#include <fmt/format.h>

#include "engine/io/base64.h"
#include "engine/io/zip.h"

namespace gs::test {

std::string vllm_log(int n_dummies) {
    std::string text = "{\"type\": \"meta\", \"model_id\": \"Qwen/Qwen1.5-MoE-A2.7B-Chat\", \"vllm_version\": \"0.11.2\", \"torch_version\": \"2.9.0+cu128\", \"device\": \"cuda\", \"seed\": 1234, "
                       "\"layers_logged\": [12], \"top_k\": 4, \"created_at\": 1764300671.38}\n";
    const auto row = [&](int token, const char* ids, const char* weights) {
        text += fmt::format("{{\"type\": \"route\", \"req_id\": \"r1\", \"token_idx\": {}, \"layer\": 12, \"topk_ids\": [{}], \"topk_weights\": [{}]}}\n", token, ids, weights);
    };
    for (int t = 0; t < n_dummies; ++t) row(t, "13, 15, 56, 34", t < n_dummies / 2 ? "0.09, 0.05, 0.04, 0.03" : "0.0901, 0.05, 0.04, 0.03");
    row(0, "4, 27, 58, 52", "0.25, 0.077, 0.066, 0.05");
    row(1, "53, 18, 24, 17", "0.3, 0.2, 0.1, 0.05");
    row(0, "58, 27, 39, 40", "0.4, 0.3, 0.2, 0.01");
    return text;
}

static constexpr int kAnswerIds[] = {0, 0, 5, 1, 2, 7, 0, 0, 3, 4, 1, 2, 0, 0, 6, 7, 7, 0, 0, 0, 1, 5, 3, 2};

std::string vllm_answer() {
    const std::vector<uint8_t> values(std::begin(kAnswerIds), std::end(kAnswerIds));
    return "{\"id\":\"cmpl-1\",\"object\":\"text_completion\",\"created\":1,\"model\":\"Qwen/Qwen3-30B-A3B\",\"choices\":[{\"index\":0,\"text\":\" a b\",\"finish_reason\":\"length\",\"prompt_logprobs\":null,"
           "\"prompt_token_ids\":[11,12],\"token_ids\":[21,22,23],\"routed_experts\":\"" + base64(npy<uint8_t>("|u1", {4, 3, 2}, values)) +
           "\"}],\"usage\":{\"prompt_tokens\":2,\"total_tokens\":5,\"completion_tokens\":3}}";
}

std::string sglang_answer(bool openai) {
    const std::vector<int32_t> values(std::begin(kAnswerIds), std::end(kAnswerIds));
    const std::string experts = base64({reinterpret_cast<const char*>(values.data()), values.size() * 4});
    if (openai)
        return "{\"id\":\"1\",\"choices\":[{\"index\":0,\"message\":{\"role\":\"assistant\",\"content\":\"a b\"}}],\"usage\":{\"prompt_tokens\":2,\"completion_tokens\":3},\"sglext\":{\"routed_experts\":\"" + experts + "\"}}";
    return "{\"text\":\" a b\",\"output_ids\":[21,22,23],\"meta_info\":{\"id\":\"1\",\"finish_reason\":{\"type\":\"length\",\"length\":3},\"prompt_tokens\":2,\"completion_tokens\":3,\"routed_experts\":\"" + experts + "\"}}";
}

std::string npz_file() {
    const std::vector<ZipEntry> entries = {{"routed_experts.npy", npy<int16_t>("<i2", {2, 2, 2}, {0, 1, 2, 3, 4, 5, 6, 7})},
                                           {"topk_weights.npy", npy<float>("<f4", {2, 2, 2}, {.6f, .4f, .7f, .3f, .8f, .2f, .9f, .1f})},
                                           {"token_ids.npy", npy<int64_t>("<i8", {2}, {42, 43})}};
    return write_zip(entries);
}

}  // namespace gs::test
