"""Write a Qwen2 or Llama model folder of a real shape with random bf16 weights: for tests of memory, loading and speed where no weights
can be downloaded.

python scripts/make_random_model.py --shape qwen2-0.5b --out DIR      # needs numpy; takes the tokenizer of data/tiny
python scripts/make_random_model.py --shape llama-8b --layers 2 --out DIR
python scripts/make_random_model.py --shape llama-8b --zeros --out DIR   # a sparse file that takes no room: for `probity plan --model DIR`

The weights say nothing; the vocabulary's rows beyond the tokenizer's are never asked for.
"""

import argparse
import json
import shutil
import struct
from pathlib import Path

import numpy as np

QWEN2 = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "rms_norm_eps": 1e-6, "rope_theta": 1000000.0,
    "max_position_embeddings": 32768, "tie_word_embeddings": True, "use_sliding_window": False,
}
# As Qwen2.5-7B-Instruct says them.
QWEN2_5_7B = QWEN2 | {"tie_word_embeddings": False, "sliding_window": 131072, "max_window_layers": 28}
# As Llama-3.1-8B and DeepSeek-R1-Distill-Llama-8B say them.
LLAMA_3_1 = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "rms_norm_eps": 1e-5, "rope_theta": 500000.0,
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 8192, "rope_type": "llama3"},
    "max_position_embeddings": 131072, "tie_word_embeddings": False, "attention_bias": False, "mlp_bias": False,
    "pretraining_tp": 1,
}
SHAPES = {
    # hidden, layers, heads, kv heads, intermediate, vocabulary; what else config.json says
    "qwen2-0.5b": (896, 24, 14, 2, 4864, 151936, QWEN2),
    "qwen2-0.5b-1layer": (896, 1, 14, 2, 4864, 151936, QWEN2),
    "qwen2.5-7b": (3584, 28, 28, 4, 18944, 152064, QWEN2_5_7B),
    "llama-8b": (4096, 32, 32, 8, 14336, 128256, LLAMA_3_1),
    "small": (256, 6, 8, 2, 704, 4096, QWEN2),
    "llama-small": (256, 6, 8, 2, 704, 4096, LLAMA_3_1),
}


def main():
    p = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    p.add_argument("--shape", choices=SHAPES, default="qwen2-0.5b")
    p.add_argument("--layers", type=int, help="so many blocks instead of the shape's, so that it fits a disk")
    p.add_argument("--zeros", action="store_true", help="zeros instead of random weights, in a file that takes no room on the disk")
    p.add_argument("--seed", type=int, default=0)
    p.add_argument("--tokenizer", default="data/tiny", help="folder whose tokenizer files are copied")
    p.add_argument("--out", required=True)
    a = p.parse_args()
    hidden, layers, heads, kv, ffn, vocab, family = SHAPES[a.shape]
    layers = layers if a.layers is None else a.layers
    if layers < 1:
        p.error("--layers must be at least 1")
    out = Path(a.out)
    out.mkdir(parents=True, exist_ok=True)
    for name in ["tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "generation_config.json"]:
        source = Path(a.tokenizer) / name
        if source.exists():
            shutil.copy(source, out / name)
    tiny = json.loads((Path(a.tokenizer) / "config.json").read_text())
    config = family | {
        "hidden_size": hidden,
        "num_hidden_layers": layers,
        "num_attention_heads": heads,
        "num_key_value_heads": kv,
        "intermediate_size": ffn,
        "vocab_size": vocab,
        "hidden_act": "silu",
        "torch_dtype": "bfloat16",
        "bos_token_id": tiny.get("bos_token_id"),
        "eos_token_id": tiny.get("eos_token_id"),
    }
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")

    head = hidden // heads
    shapes = {"model.embed_tokens.weight": (vocab, hidden), "model.norm.weight": (hidden,)}
    for layer in range(layers):
        n = f"model.layers.{layer}."
        shapes |= {
            n + "input_layernorm.weight": (hidden,),
            n + "post_attention_layernorm.weight": (hidden,),
            n + "self_attn.q_proj.weight": (heads * head, hidden),
            n + "self_attn.q_proj.bias": (heads * head,),
            n + "self_attn.k_proj.weight": (kv * head, hidden),
            n + "self_attn.k_proj.bias": (kv * head,),
            n + "self_attn.v_proj.weight": (kv * head, hidden),
            n + "self_attn.v_proj.bias": (kv * head,),
            n + "self_attn.o_proj.weight": (hidden, heads * head),
            n + "mlp.gate_proj.weight": (ffn, hidden),
            n + "mlp.up_proj.weight": (ffn, hidden),
            n + "mlp.down_proj.weight": (hidden, ffn),
        }
    if family["model_type"] != "qwen2":
        shapes = {name: shape for name, shape in shapes.items() if not name.endswith(".bias")}
    if not family["tie_word_embeddings"]:
        shapes["lm_head.weight"] = (vocab, hidden)
    header, at = {"__metadata__": {"format": "pt"}}, 0
    for name, shape in shapes.items():
        size = 2 * int(np.prod(shape))
        header[name] = {"dtype": "BF16", "shape": list(shape), "data_offsets": [at, at + size]}
        at += size
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    rng = np.random.default_rng(a.seed)
    with open(out / "model.safetensors", "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        if a.zeros:
            f.truncate(f.tell() + at)
            shapes = {}
        for name, shape in shapes.items():
            if name.endswith("norm.weight"):
                values = np.ones(shape, np.float32)
            else:
                values = 0.02 * rng.standard_normal(shape, np.float32)
            bits = values.view(np.uint32)
            f.write(((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype(np.uint16).tobytes())
    print(f"{out}: {a.shape}, {at / 1e6:.0f} MB of weights")


if __name__ == "__main__":
    main()
