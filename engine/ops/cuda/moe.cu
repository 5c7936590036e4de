// Which way a mixture goes.
#include "engine/ops/cuda/linear.cuh"
#include "engine/ops/cuda/moe_parts.cuh"

namespace gs::cuda {
namespace {

DeviceMoe dense_call(const DeviceFfn& net, Rows x, Rows out) {
    DeviceMoe call;
    call.x = x;
    call.shared = &net;
    call.out = out;
    return call;
}

bool decodes(const DeviceMoe& call) { return call.x.n_rows <= kDecodeTokens; }

}  // namespace

size_t moe_workspace(const DeviceMoe& call, Precision precision) {
    return decodes(call) ? moe_decode_workspace(call) : moe_prefill_workspace(call, precision);
}

void moe(cudaStream_t stream, const DeviceMoe& call, Precision precision, int n_processors, std::byte* workspace) {
    if (call.x.n_rows <= 0) return;
    if (decodes(call)) moe_decode(stream, call, n_processors, workspace);
    else moe_prefill(stream, call, precision, workspace);
}

size_t ffn_workspace(const DeviceFfn& net, Rows x, Precision precision) { return moe_workspace(dense_call(net, x, x), precision); }

void ffn(cudaStream_t stream, const DeviceFfn& net, Rows x, Rows out, Precision precision, int n_processors, std::byte* workspace) {
    moe(stream, dense_call(net, x, out), precision, n_processors, workspace);
}

}  // namespace gs::cuda
