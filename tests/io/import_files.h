// Recorded routes as other programs write them, small ones of known content.
#pragma once

#include <span>
#include <string>
#include <vector>

#include "engine/io/npy.h"

namespace gs::test {

template <class T>
std::string npy(const char* descr, std::vector<int64_t> shape, const std::vector<T>& values) {
    return write_npy(descr, shape, std::as_bytes(std::span(values)));
}

inline constexpr const char* kBigMoe =
    "# route_trace v1\n"
    "# model=/data/qwen3-30b.gguf arch=qwen3moe n_layer=3 n_expert=16 n_expert_used=2\n"
    "# layer=0 expert_bytes=0 dense_bytes=44191236\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped\n"
    "0,0,0,1,0,7,0.6,0,4336640,0\n0,0,0,1,1,3,0.4,1,0,0\n"
    "0,0,1,1,0,2,0.7,0,4336640,0\n0,0,1,1,1,9,0.3,1,0,1\n"
    "0,0,0,2,0,1,0.9,0,4336640,0\n0,0,0,2,1,0,0.1,1,0,0\n"
    "0,0,1,2,0,4,0.8,0,4336640,0\n0,0,1,2,1,5,0.2,1,0,0\n"
    "0,1,2,1,0,8,0.55,0,4336640,0\n0,1,2,1,1,9,0.45,1,0,0\n"
    "0,1,2,2,0,6,0.5,0,4336640,0\n0,1,2,2,1,7,0.5,1,0,0\n";

// Prompt of three tokens, k = 2, layers 1 to 3; llama.cpp computes the last layer for the last token only. Then two decoded tokens.
inline constexpr const char* kMoeTrace =
    "1,4\n1,2\n1,3\n1,5\n1,0\n1,1\n2,4\n2,2\n2,3\n2,5\n2,0\n2,6\n3,7\n3,2\n"
    "1,1\n1,2\n2,3\n2,4\n3,5\n3,6\n"
    "1,2\n1,1\n2,3\n2,5\n3,5\n3,0\n";

// The same run as the fork writes it: the last layer's one row counts as token 0 of the pass, though it is of the last.
inline constexpr const char* kRankedTrace =
    "phase,token,layer,rank,expert\n"
    "prefill,0,1,0,4\nprefill,0,1,1,2\nprefill,1,1,0,3\nprefill,1,1,1,5\nprefill,2,1,0,0\nprefill,2,1,1,1\n"
    "prefill,0,2,0,4\nprefill,0,2,1,2\nprefill,1,2,0,3\nprefill,1,2,1,5\nprefill,2,2,0,0\nprefill,2,2,1,6\n"
    "prefill,0,3,0,7\nprefill,0,3,1,2\n"
    "decode,3,1,0,1\ndecode,3,1,1,2\ndecode,3,2,0,3\ndecode,3,2,1,4\ndecode,3,3,0,5\ndecode,3,3,1,6\n";

// BigMoeOnEdge before it wrote `dropped`, and a fork that writes one column more; no weight in the graph.
inline constexpr const char* kBigMoeEarly =
    "# route_trace v1\n# model=m.gguf arch=qwen3moe n_layer=1 n_expert=8 n_expert_used=2\n# layer=0 expert_bytes=10 dense_bytes=0\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes\n0,0,0,0,0,7,nan,0,10\n0,0,0,0,1,3,nan,1,0\n";
inline constexpr const char* kBigMoeFork =
    "# route_trace v1\n# model=m.gguf arch=qwen3moe n_layer=1 n_expert=8 n_expert_used=2\n# layer=0 expert_bytes=10 dense_bytes=0\n"
    "turn,phase,step,layer,slot,expert,weight,residency,expert_bytes,dropped,media_kind\n0,1,0,0,0,7,0.625,0,10,1,0\n0,1,0,0,1,3,0.375,1,0,0,0\n";

inline constexpr const char* kRouteText = "0 0 1 3:0.6000 1:0.4000\n0 1 1 2:0.7000 0:0.3000\n1 0 2 5:0.5500 1:0.4500\n1 1 2 4:0.8000 3:0.2000\n2 0 1 3:0.5100 0:0.4900\n3 0 2 2:0.9000 1:0.1000\n";

inline constexpr const char* kOlmoe = "{\"input_ids\": [11, 12], \"predicted_token_ids\": [12, 13], \"exp_ids\": [[[4, 9], [1, 3]], [[2, 0], [7, 5]]]}\n{\"input_ids\": [21], \"exp_ids\": [[[1, 2], [3, 4]]]}\n";

inline constexpr const char* kEvents =
    "{\"layer\": 0, \"phase\": \"prefill\", \"token_index\": 0, \"expert_ids\": [3, 8], \"scores\": [0.25, 0.75], \"prompt_id\": \"a\"}\n"
    "{\"layer\": 1, \"phase\": \"prefill\", \"token_index\": 0, \"expert_ids\": [1, 2], \"scores\": [0.5, 0.5], \"prompt_id\": \"a\"}\n"
    "{\"layer\": 0, \"phase\": \"decode\", \"token_index\": 0, \"expert_ids\": [4, 8], \"scores\": [0.9, 0.1], \"prompt_id\": \"a\"}\n"
    "{\"layer\": 1, \"phase\": \"decode\", \"token_index\": 0, \"expert_ids\": [0, 2], \"scores\": [0.6, 0.4], \"prompt_id\": \"a\"}\n";

/// moe_logger.py of vLLM-MoE-Logger: a warm-up of dummy tokens, a pass of two tokens, a pass of one.
std::string vllm_log(int n_dummies);
/// Answers of servers to a prompt of two tokens, of three tokens: four rows; layer 0 is dense, layers 1 and 2 have k = 2.
std::string vllm_answer();
std::string sglang_answer(bool openai = false);
/// [2, 2, 2] ids and weights, and token ids.
std::string npz_file();

}  // namespace gs::test
