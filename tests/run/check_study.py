"""Recomputes, from the routing in a trace file and the labels beside it, what the program says about experts. Run by expert_study_test.cpp: check_study.py TRACE STUDY."""
import itertools
import json
import sys

import numpy as np
from safetensors.numpy import load_file

trace = load_file(sys.argv[1])
study = json.load(open(sys.argv[2]))
rows = np.array(study["rows"])
ids_all, used = trace["expert_ids"][rows], trace["n_used"][rows]
tokens = trace["token_ids"][rows]
E = trace["router_logits"].shape[2]
domain, text, word = (np.array(study[name]) for name in ("domain", "text", "word_class"))


def entropy(counts):
    p = counts[counts > 0] / counts.sum()
    return -(p * np.log2(p)).sum()


def information(label, chosen, given):
    """Over assignments: H(L | G) + H(E | G) - H(L, E | G)."""
    bits = left = 0.0
    total = chosen.sum()
    for g in np.unique(given):
        here = given == g
        table = np.zeros((label.max() + 1, E))
        for l, row in zip(label[here], chosen[here]):
            table[l] += row
        share = table.sum() / total
        left += share * entropy(table.sum(axis=1))
        bits += share * (entropy(table.sum(axis=1)) + entropy(table.sum(axis=0)) - entropy(table.ravel()))
    return bits, left


def close(a, b, what):
    assert (a is None and not np.isfinite(b)) or abs(a - b) <= 1e-9 * max(1, abs(b)), (what, a, b)


nothing = np.zeros(len(rows), int)
rng = np.random.default_rng(1)
DRAWS = 2000
for m, said in enumerate(study["layers"]):
    sets = [list(ids_all[t, m, : used[t, m]]) for t in range(len(rows))]
    chosen = np.zeros((len(rows), E), int)
    for t, s in enumerate(sets):
        chosen[t, s] = 1
    for name, label, given in (("domain", domain, nothing), ("word_class", word, nothing), ("domain_given_class", domain, word), ("class_given_domain", word, domain)):
        bits, left = information(label, chosen, given)
        close(said[name]["bits"], bits, name)
        close(said[name]["entropy_bits"], left, name)
    both = chosen.T @ chosen
    for i, j in itertools.permutations(range(E), 2):
        close(said["co_activation"]["share"][i][j], both[i, j] / both[i, i] if both[i, i] else np.nan, "co-activation")
    near = np.zeros((E, E))
    for s in sets:
        for a, b in zip(s, s[1:]):
            near[a, b] += 1
            near[b, a] += 1
    for i, j in itertools.permutations(range(E), 2):
        close(said["adjacent"]["share"][i][j], near[i, j] / both[i, i] if both[i, i] else np.nan, "adjacent")
    for e, lifts in enumerate(said["lift"]):
        for token, n, hits, lift in lifts:
            at = tokens == token
            assert n == at.sum() and hits == chosen[at, e].sum()
            close(lift, chosen[at, e].mean() / chosen[:, e].mean(), "lift")
        wanted = {t for t, n in zip(*np.unique(tokens, return_counts=True)) if n >= study["at_least"]}
        assert not lifts or {l[0] for l in lifts} == wanted, "every id that occurs often enough"
    # The nulls of importance, by chance itself: which expert a slot belongs to is drawn anew.
    slot_expert = np.array([e for s in sets for e in s])
    drawn = np.argsort(rng.random((DRAWS, len(slot_expert))), axis=1)
    of_slots = {name: np.array(said["slots"][name]) for name in ("weight", "norm", "part", "cosine")}
    for e, figures in enumerate(said["importance"]):
        n = int((slot_expert == e).sum())
        if n == 0:
            continue
        for name, slots, reduce in (("mean weight", "weight", np.mean), ("weighted frequency", "weight", np.sum), ("EAN", "norm", np.mean), ("EAN sum", "norm", np.sum),
                                    ("REAP", "part", np.mean), ("weighted EAN", "part", np.sum), ("largest norm", "norm", np.max), ("cosine", "cosine", np.mean)):
            figure, values = figures[name], of_slots[slots]
            assert (figure["tokens"], figure["of_tokens"]) == (n, len(rows))
            close(figure["value"], reduce(values[slot_expert == e]), name)
            by_chance = reduce(values[drawn[:, :n]], axis=1)
            spread = by_chance.std() + 1e-9 * abs(by_chance.mean())
            assert abs(figure["null"]["mean"] - by_chance.mean()) < 5 * spread / DRAWS**0.5 + 1e-12, (name, figure, by_chance.mean())
            low, high = figure["null"]["band_95"]
            # 2.5 % of the draws lie outside on either side; of a largest value, which is one of few, that is where the share passes 2.5 %.
            for beyond, reached in (((by_chance < low).mean(), (by_chance <= low).mean()), ((by_chance > high).mean(), (by_chance >= high).mean())):
                assert beyond < 0.04 and reached > 0.01, (name, n, figure, beyond, reached)
            assert figure["beyond_chance"] == (not low <= figure["value"] <= high)
    pairs = [(a, b) for a, b, same in zip(sets, sets[1:], text[:-1] == text[1:]) if same]
    assert said["repetition"]["pairs"] == len(pairs)
    close(said["repetition"]["first_choice"], np.mean([a[0] == b[0] for a, b in pairs]), "first choice")
    close(said["repetition"]["any_overlap"], np.mean([bool(set(a) & set(b)) for a, b in pairs]), "any overlap")
    if m + 1 < len(study["layers"]):
        following = np.zeros((len(rows), E), int)
        for t in range(len(rows)):
            following[t, ids_all[t, m + 1, : used[t, m + 1]]] = 1
        flow = chosen.T @ following
        for i in range(E):
            for j in range(E):
                close(said["flow"]["share"][i][j], flow[i, j] / both[i, i] if both[i, i] else np.nan, "flow")
print("layers", len(study["layers"]), "tokens", len(rows))
