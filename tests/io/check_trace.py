"""Opens a trace with the stock safetensors package and checks that it says what it should. Run by python_test.cpp: check_trace.py FILE."""
import json
import sys

import numpy as np
from safetensors import safe_open
from safetensors.numpy import load_file

path = sys.argv[1]
with safe_open(path, framework="numpy") as f:
    about = json.loads(f.metadata()["gatescope"])
t = load_file(path)

assert about["format"] == "gatescope trace" and about["version"] == 1
assert set(t) <= set(about["tensors"]), "every tensor is described"
T, M, E = t["router_logits"].shape
assert M == len(about["moe_layers"]) and E == about["router"]["n_experts"]
K = t["expert_ids"].shape[2]
for name, shape in {"token_ids": (T,), "logprob": (T,), "text_ends": (T,), "preference": (T, M, E), "selection": (T, M, E),
                    "weights": (T, M, K), "n_used": (T, M), "margin": (T, M)}.items():
    assert t[name].shape == shape, name

text, begin = t["text"].tobytes(), 0
pieces = []
for end in t["text_ends"]:
    pieces.append(text[begin:end])
    begin = end
assert b"".join(pieces) == text

z = t["router_logits"].astype(np.float64)
for i in range(T):
    temperature = 0.5 if "temp=0.5" in about["policies"][t["policy"][i]] else 1.0
    p = np.exp(z[i] / temperature - (z[i] / temperature).max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    assert np.allclose(t["preference"][i], p, rtol=1e-5, atol=1e-7), "preference is the softmax of the logits"
for i in range(T):
    for m in range(M):
        n = t["n_used"][i, m]
        ids = t["expert_ids"][i, m]
        best = np.argsort(-t["selection"][i, m], kind="stable")[:n]
        assert (ids[:n] == best).all(), "the k best by selection score"
        assert (ids[n:] == about["filler"]).all() and (t["weights"][i, m, n:] == 0).all(), "the rest is filler"
        rejected = np.delete(z[i, m], ids[:n])
        assert np.isclose(t["margin"][i, m], z[i, m, ids[:n]].min() - rejected.max(), rtol=1e-6)
print("tokens", T, "layers", M, "experts", E, "prompt", t["prompt"].tobytes().decode())
