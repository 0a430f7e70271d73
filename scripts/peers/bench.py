#!/usr/bin/env python3
"""Probity beside its peers on this machine, in one run, as ratios.

    cargo build --release
    python scripts/peers/bench.py [--device cpu] [--shape tiny] [--rounds 3] [--json OUT]       # PyTorch and TRL
    python scripts/peers/bench.py --device auto --cuda --shape q05b       # the same card under CUDA; peers in bf16
    python scripts/peers/bench.py --device cpu --shape q05b --only llama --llama-bench .../llama-bench --gguf DIR
    python scripts/peers/bench.py --device cpu --shape q05b --only candle --candle scripts/peers/candle/target/release/candle-q --model DIR
    python scripts/peers/bench.py --device name:llvmpipe --shape tiny --only burn --burn scripts/peers/burn/target/release/burn-q

PyTorch and TRL need torch, transformers, trl, datasets. DIR of --gguf: q05b-f32.gguf and q05b-bf16.gguf of random_gguf.py. DIR of
--model: of scripts/make_random_model.py. candle and burn are built from the folders beside this file. llama.cpp and burn are run on
the same Vulkan adapter as Probity where --device is not cpu (GGML_VK_VISIBLE_DEVICES=0: llama.cpp passes over software adapters).
Every round measures each peer and then Probity, so that a slow spell of the machine hits both; the table shows medians over
rounds. A ratio above 1 means that Probity is faster.
"""

import argparse
import json
import os
import random
import re
import statistics
import subprocess
import sys
import tempfile
import time

CUDA = "--cuda" in sys.argv
os.environ.update(HF_HUB_OFFLINE="1", TOKENIZERS_PARALLELISM="false", WANDB_DISABLED="true")
if not CUDA:
    os.environ["CUDA_VISIBLE_DEVICES"] = ""

ONLY = sys.argv[sys.argv.index("--only") + 1] if "--only" in sys.argv[:-1] else "torch"
if ONLY == "torch":
    import torch  # noqa: E402
    from transformers import Qwen2Config, Qwen2ForCausalLM, TrainerCallback  # noqa: E402

SHAPES = {
    "tiny": dict(hidden_size=128, num_hidden_layers=4, num_attention_heads=4, num_key_value_heads=2,
                 intermediate_size=352, vocab_size=512),
    "small": dict(hidden_size=256, num_hidden_layers=6, num_attention_heads=8, num_key_value_heads=2,
                  intermediate_size=704, vocab_size=4096),
    "q05b": dict(hidden_size=896, num_hidden_layers=24, num_attention_heads=14, num_key_value_heads=2,
                 intermediate_size=4864, vocab_size=151936),
}
DEVICE = "cuda" if CUDA else "cpu"


def model(shape):
    rope = {"rope_type": "default", "rope_theta": 1e6}
    config = Qwen2Config(tie_word_embeddings=True, rms_norm_eps=1e-6, rope_parameters=rope, bos_token_id=1,
                         eos_token_id=2, pad_token_id=0, max_position_embeddings=1024, **SHAPES[shape])
    with torch.device(DEVICE):
        return Qwen2ForCausalLM(config).to(torch.bfloat16 if CUDA else torch.float32)


def tokens(shape, rows, length):
    return torch.randint(3, SHAPES[shape]["vocab_size"], (rows, length), device=DEVICE)


def settle():
    if CUDA:
        torch.cuda.synchronize()


def median(f, repeat, warm=2):
    for _ in range(warm):
        f()
    times = []
    for _ in range(repeat):
        settle()
        start = time.perf_counter()
        f()
        settle()
        times.append(time.perf_counter() - start)
    return statistics.median(times)


def torch_train(shape):
    """Forward with labels, backward, AdamW: 8 x 128 tokens."""
    m = model(shape).train()
    x = tokens(shape, 8, 128)
    optimizer = torch.optim.AdamW(m.parameters(), lr=1e-5)

    def step():
        m(x, labels=x, use_cache=False).loss.backward()
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)

    return median(step, 11)


def torch_prefill(shape):
    m, x = model(shape).eval(), tokens(shape, 1, 128)
    with torch.no_grad():
        return median(lambda: m(x, use_cache=False), 15)


def torch_decode(shape, batch):
    """A bare loop with cache and argmax: prefill of 32 and 64 new tokens."""
    m, x = model(shape).eval(), tokens(shape, batch, 32)

    def loop():
        with torch.no_grad():
            out = m(x, use_cache=True, logits_to_keep=1)
            for _ in range(63):
                y = out.logits[:, -1].argmax(-1, keepdim=True)
                out = m(y, past_key_values=out.past_key_values, use_cache=True)

    return median(loop, 3, 1)


def trl_step(shape, group, length, steps):
    """One GRPOTrainer step: 4 prompts of 33 tokens x `group` completions of exactly `length` tokens, no reference model."""
    from datasets import Dataset
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers, trainers
    from transformers import PreTrainedTokenizerFast
    from trl import GRPOConfig, GRPOTrainer

    rng = random.Random(0)
    tk = Tokenizer(models.BPE())
    tk.pre_tokenizer, tk.decoder = pre_tokenizers.ByteLevel(add_prefix_space=False), decoders.ByteLevel()
    sums = [" ".join(f"{rng.randint(0, 99)}{rng.choice('+-*/=')}" for _ in range(40)) for _ in range(300)]
    tk.train_from_iterator(sums, trainers.BpeTrainer(vocab_size=512, special_tokens=["<pad>", "<bos>", "<eos>"],
                                                     initial_alphabet=pre_tokenizers.ByteLevel.alphabet()))
    tok = PreTrainedTokenizerFast(tokenizer_object=tk, pad_token="<pad>", bos_token="<bos>", eos_token="<eos>",
                                  padding_side="left")

    def prompt():
        text = ""
        while len(tok(text).input_ids) < 32:
            text += rng.choice("0123456789") + rng.choice("+-*/= ")
        return text

    times = []

    class Clock(TrainerCallback):
        def on_step_begin(self, *_, **__):
            self.start = time.perf_counter()

        def on_step_end(self, *_, **__):
            times.append(time.perf_counter() - self.start)

    def reward(completions, **_):
        return [sum(c.isdigit() for c in s) / max(1, len(s)) for s in completions]

    with tempfile.TemporaryDirectory() as out:
        config = GRPOConfig(output_dir=out, per_device_train_batch_size=4 * group, num_generations=group, max_completion_length=length,
                            temperature=1.0, beta=0.0, max_steps=steps, logging_steps=1000, report_to=[],
                            save_strategy="no", use_cpu=not CUDA, bf16=CUDA, gradient_checkpointing=False,
                            generation_kwargs=dict(min_new_tokens=length), disable_tqdm=True)
        data = Dataset.from_dict({"prompt": [prompt() for _ in range(64)]})
        GRPOTrainer(model=model(shape), reward_funcs=reward, args=config, train_dataset=data, processing_class=tok,
                    callbacks=[Clock()]).train()
    return statistics.median(times[1:])


def llama(args, precision, *what):
    """Seconds of one llama-bench test."""
    env = dict(os.environ, GGML_VK_VISIBLE_DEVICES="0")
    where = ["-dev", "none"] if args.device == "cpu" else ["-ngl", "99"]
    command = [args.llama_bench, "-m", os.path.join(args.gguf, f"q05b-{precision}.gguf"), "-p", "0", "-n", "0", *what, *where,
               "-t", str(args.threads), "-r", "2", "-o", "json"]
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True, env=env).stdout)
    return made[-1]["avg_ns"] * 1e-9


def candle(args, precision):
    """Seconds of a prefill of 128 tokens, last logits."""
    made = subprocess.run([args.candle, args.model, precision], check=True, capture_output=True, text=True).stdout
    return float(re.search(r"prefill 128 \(last logits\): ([0-9.]+) ms", made)[1]) * 1e-3


def burn(args, *what):
    """Seconds of a training step, or of a product of 512 cubed."""
    backend = "flex" if args.device == "cpu" else "wgpu"
    made = subprocess.run([args.burn, backend, *what], check=True, capture_output=True, text=True).stdout
    step = re.search(r"train 8x128: ([0-9.]+) ms", made)
    return float(step[1]) * 1e-3 if step else 2 * 512**3 / float(re.search(r"matmul 512: ([0-9.]+)", made)[1]) * 1e-9


def probity(binary, device, shape, precision, names):
    """Seconds of the named rows."""
    words = {"training": "train", "GRPO": "grpo", "prefill,": "prefill", "decode,": "decode", "matmul_nt,": "matmul"}
    what = ",".join(sorted({words[name.split()[0]] for name in names}))
    command = [binary, "bench", "--device", device, "--shapes", shape, "--what", what,
               "--precision", precision, "--repeat", "5", "--json"]
    batches = [re.search(r"B=(\d+)", name)[1] for name in names if name.startswith("decode")]
    command += ["--batch", ",".join(batches)] if batches else []
    made = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
    rows = {f"{r['what']}, {r['shape'].replace(' bf16', '')}": r["seconds"][0] for r in made["rows"]}
    return {name: rows[name] for name in names}, made["device"]


def peers_of(args):
    """Name of a row: peer, how it is measured, how weights are stored."""
    s, stored = args.shape, "bf16" if CUDA else "f32"
    if args.only == "llama":
        return {
            "prefill, last logits, q05b 1x128": ("llama.cpp", lambda: llama(args, "f32", "-p", "128"), "f32"),
            "decode, q05b B=1 32+64": ("llama.cpp", lambda: llama(args, "bf16", "-pg", "32,64"), "bf16"),
        }
    if args.only == "candle":
        return {"prefill, last logits, q05b 1x128": ("candle", lambda: candle(args, "f32"), "f32")}
    if args.only == "burn":
        return {
            f"training step, {s} 8x128": ("burn", lambda: burn(args, "train", s, "5"), "f32"),
            "matmul_nt, 512x512x512 f32": ("burn", lambda: burn(args, "mm", "512"), "f32"),
        }
    torch.set_num_threads(args.threads)
    torch.manual_seed(0)
    return {
        f"training step, {s} 8x128": ("PyTorch", lambda: torch_train(s), stored),
        f"GRPO step, {s} 4x8x64": ("TRL", lambda: trl_step(s, 8, 64, args.trl_steps), stored),
        f"GRPO step, {s} 4x4x150": ("TRL", lambda: trl_step(s, 4, 150, args.trl_steps), stored),
        f"prefill, all logits, {s} 1x128": ("PyTorch", lambda: torch_prefill(s), stored),
        f"decode, {s} B=1 32+64": ("PyTorch", lambda: torch_decode(s, 1), stored),
        f"decode, {s} B=8 32+64": ("PyTorch", lambda: torch_decode(s, 8), stored),
        f"decode, {s} B=32 32+64": ("PyTorch", lambda: torch_decode(s, 32), stored),
    }


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--probity", default="target/release/probity")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--cuda", action="store_true", help="PyTorch and TRL on CUDA, in bf16")
    parser.add_argument("--shape", default="tiny", choices=SHAPES)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--json")
    parser.add_argument("--trl-steps", type=int, default=6, help="steps of TRL in a round; the first is not counted")
    parser.add_argument("--skip", nargs="*", help="leave out rows whose names have these words")
    parser.add_argument("--only", choices=["torch", "llama", "candle", "burn"], default="torch", help="which peer")
    parser.add_argument("--llama-bench", default="llama-bench")
    parser.add_argument("--gguf", default=".")
    parser.add_argument("--candle", default="scripts/peers/candle/target/release/candle-q")
    parser.add_argument("--model", default=".")
    parser.add_argument("--burn", default="scripts/peers/burn/target/release/burn-q")
    args = parser.parse_args()
    peers = peers_of(args)
    if args.skip:
        peers = {k: v for k, v in peers.items() if not any(word in k for word in args.skip)}
    theirs, ours, device = {k: [] for k in peers}, {k: [] for k in peers}, ""
    for _ in range(args.rounds):
        for precision in sorted({p for *_, p in peers.values()}):
            names = [k for k, (*_, p) in peers.items() if p == precision]
            for name in names:
                theirs[name].append(peers[name][1]())
            rows, device = probity(args.probity, args.device, args.shape, precision, names)
            for name in names:
                ours[name].append(rows[name])
    peer_device = torch.cuda.get_device_name() + ", bf16" if CUDA else f"{args.threads} threads"
    print(f"Probity on {device}; peers: {peer_device}; medians of {args.rounds} rounds (min to max)")
    print("| work | peer | peer, ms | Probity, ms | ratio |\n|---|---|---|---|---|")
    table = []
    for name, (peer, _, precision) in peers.items():
        p, q = theirs[name], ours[name]
        show = lambda x: f"{statistics.median(x) * 1e3:.1f} ({min(x) * 1e3:.1f} to {max(x) * 1e3:.1f})"  # noqa: E731
        ratio = statistics.median(p) / statistics.median(q)
        print(f"| {name}, {precision} | {peer} | {show(p)} | {show(q)} | {ratio:.2f}x |")
        table.append(dict(work=name, peer=peer, precision=precision, peer_seconds=p, probity_seconds=q, ratio=ratio))
    if args.json:
        with open(args.json, "w") as out:
            json.dump(table, out, indent=1)


if __name__ == "__main__":
    main()
