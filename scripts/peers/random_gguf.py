"""A model of Qwen2-0.5B's shape with random weights for llama.cpp, without a vocabulary: python random_gguf.py OUT.gguf f32|bf16"""

import sys

import gguf
import numpy as np

HIDDEN, LAYERS, HEADS, KV_HEADS, HEAD, FFN, VOCAB = 896, 24, 14, 2, 64, 4864, 151936


def write(path, dtype):
    w = gguf.GGUFWriter(path, "qwen2")
    w.add_context_length(32768)
    w.add_embedding_length(HIDDEN)
    w.add_block_count(LAYERS)
    w.add_feed_forward_length(FFN)
    w.add_head_count(HEADS)
    w.add_head_count_kv(KV_HEADS)
    w.add_layer_norm_rms_eps(1e-6)
    w.add_rope_freq_base(1e6)
    w.add_vocab_size(VOCAB)
    w.add_tokenizer_model("no_vocab")
    rng = np.random.default_rng(0)

    def matrix(name, rows, cols):
        x = rng.standard_normal((rows, cols), dtype=np.float32) * 0.02
        if dtype == "bf16":
            kind = gguf.GGMLQuantizationType.BF16
            w.add_tensor(name, gguf.quantize(x, kind), raw_dtype=kind)
        else:
            w.add_tensor(name, x)

    def vector(name, n, value):
        w.add_tensor(name, np.full(n, value, np.float32))

    matrix("token_embd.weight", VOCAB, HIDDEN)
    vector("output_norm.weight", HIDDEN, 1)
    for i in range(LAYERS):
        block = f"blk.{i}."
        vector(block + "attn_norm.weight", HIDDEN, 1)
        vector(block + "ffn_norm.weight", HIDDEN, 1)
        for name, rows in (("q", HEADS * HEAD), ("k", KV_HEADS * HEAD), ("v", KV_HEADS * HEAD)):
            matrix(block + f"attn_{name}.weight", rows, HIDDEN)
            vector(block + f"attn_{name}.bias", rows, 0)
        matrix(block + "attn_output.weight", HIDDEN, HEADS * HEAD)
        matrix(block + "ffn_gate.weight", FFN, HIDDEN)
        matrix(block + "ffn_up.weight", FFN, HIDDEN)
        matrix(block + "ffn_down.weight", HIDDEN, FFN)
    w.write_header_to_file()
    w.write_kv_data_to_file()
    w.write_tensors_to_file()
    w.close()


if __name__ == "__main__":
    write(sys.argv[1], sys.argv[2])
