#!/usr/bin/env python3
"""Gatescope beside llama.cpp on the same files, interleaved in one run; prints a table of medians and ratios.

  side_by_side.py [--rounds 3] [--busy] [--context 4096] MODEL.gguf ...

Both get the same number of threads and decode from an empty context; Gatescope records every router logit. GATESCOPE and LLAMA_BENCH name the
programs (default: build/release/app/gatescope of this tree, and llama-bench); LLAMA_BENCH may be a command line, for example one that enters a
chroot, and LLAMA_MODELS the folder in which it finds the files. --busy: once more with the first core kept busy by another process. --context N:
decoding behind N tokens too. Other work on the machine spoils the figures: the columns of extremes show when.
"""
import argparse, json, os, shlex, statistics, subprocess, sys

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
OURS = os.environ.get("GATESCOPE", os.path.join(ROOT, "build/release/app/gatescope"))
PEER = shlex.split(os.environ.get("LLAMA_BENCH", "llama-bench"))


def run(command):
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{shlex.join(command)} failed:\n{done.stderr.strip()}")
    return done.stdout


def ours(model, threads, prompt, decode):
    b = json.loads(run([OURS, "bench", "--json", "--model", model, "--threads", str(threads), "--prompt-tokens", str(prompt), "--decode-tokens", str(decode),
                        "--repeats", "1"]))
    return b


def peer(model, threads, prompt, decode, depth=0):
    folder = os.environ.get("LLAMA_MODELS")
    path = os.path.join(folder, os.path.basename(model)) if folder else model
    command = PEER + ["-m", path, "-t", str(threads), "-p", str(prompt), "-n", str(decode), "-r", "2", "-o", "jsonl"]
    if depth:
        command += ["-d", str(depth)]
    # The first repeat still brings pages of the mapping in.
    return [json.loads(line)["samples_ts"][-1] for line in run(command).splitlines() if line.startswith("{")][0]


def median(values):
    return statistics.median(values)


def row(name, mine, theirs, more=""):
    print(f"{name:<34}{median(mine):>10.1f} ({min(mine):.1f}-{max(mine):.1f}){median(theirs):>12.1f} ({min(theirs):.1f}-{max(theirs):.1f})"
          f"{median(mine) / median(theirs):>8.2f}x  {more}", flush=True)


def compare(model, args, label=""):
    name = os.path.basename(model).removesuffix(".gguf")
    prompts, decodes, shares, peer_prompts, peer_decodes, last = [], [], [], [], [], None
    for _ in range(args.rounds):
        b = ours(model, args.threads, 512, 1)
        prompts.append(b["prefill_tokens_per_s"]["capture"])
        last = ours(model, args.threads, 8, args.decode)
        decodes.append(last["decode_tokens_per_s"]["capture"])
        shares.append(last["share_of_read_limit"])
        peer_prompts.append(peer(model, args.threads, 512, 0))
        peer_decodes.append(peer(model, args.threads, 0, args.decode))
    row(f"{name} prompt 512{label}", prompts, peer_prompts)
    row(f"{name} decode{label}", decodes, peer_decodes, f"{100 * median(shares):.0f} % of the read limit ({last['read_limit_GB_per_s']:.1f} GB/s)")
    if args.context and not label:
        deep = [ours(model, args.threads, args.context, 16)["decode_tokens_per_s"]["capture"]]
        row(f"{name} decode at {args.context}", deep, [peer(model, args.threads, 0, 16, args.context)])
    if not label:
        m = last["memory"]
        print(f"  loaded in {last['load_s']:.2f} s, first token after {last['first_token_s']:.2f} s, resident {m['anonymous'] / 1e6:.0f} MB of its own and "
              f"{m['mapped'] / 1e6:.0f} MB of the {m['file'] / 1e6:.0f} MB file", flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("models", nargs="+", metavar="MODEL.gguf")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--decode", type=int, default=48, help="tokens decoded")
    parser.add_argument("--context", type=int, default=0)
    parser.add_argument("--busy", action="store_true")
    args = parser.parse_args()
    print(f"{'tokens/s, median (extremes)':<34}{'Gatescope':>18}{'llama.cpp':>20}{'ratio':>17}")
    for model in args.models:
        compare(model, args)
        if args.busy:
            with subprocess.Popen([sys.executable, "-c", "import os\nos.sched_setaffinity(0, {0})\nwhile True: pass"]) as other:
                try:
                    compare(model, args, ", one core busy")
                finally:
                    other.kill()


if __name__ == "__main__":
    main()
