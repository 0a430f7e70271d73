#!/usr/bin/env python3
"""Make the committed reference values under kernels-tests/golden/ (see the README there).

    python scripts/make_golden.py [OUT_DIR]

Needs torch, transformers, trl and safetensors. The output is the same for the same versions of these.
"""

import copy
import json
import sys
from collections import defaultdict
from pathlib import Path
from types import SimpleNamespace

import torch
import transformers
import trl
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS
from trl.trainer.grpo_trainer import GRPOTrainer
from trl.trainer.utils import nanstd

import dump_golden

# The spelling of transformers 4, with the null keys that are found in the wild.
TIED = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
    "hidden_size": 64, "intermediate_size": 176, "num_hidden_layers": 2,
    "num_attention_heads": 4, "num_key_value_heads": 2, "vocab_size": 320,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-6, "rope_theta": 1000000.0, "rope_scaling": None,
    "sliding_window": None, "use_sliding_window": False, "max_window_layers": 2,
    "tie_word_embeddings": True, "bos_token_id": 1, "eos_token_id": 2, "torch_dtype": "bfloat16",
}
# The spelling of transformers 5; sizes are multiples of 4 and of nothing else.
UNTIED = {
    "architectures": ["Qwen2ForCausalLM"], "model_type": "qwen2", "hidden_act": "silu",
    "hidden_size": 60, "intermediate_size": 100, "num_hidden_layers": 2,
    "num_attention_heads": 3, "num_key_value_heads": 1, "vocab_size": 251,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5,
    "rope_parameters": {"rope_theta": 10000.0, "rope_type": "default"},
    "layer_types": ["full_attention", "full_attention"], "use_sliding_window": False, "sliding_window": None,
    "tie_word_embeddings": False, "bos_token_id": None, "eos_token_id": [2, 3], "dtype": "float32",
}

# Llama: no biases, heads wider than hidden / heads, three query heads to a key/value head, frequencies of which some are kept, some
# divided and some between.
LLAMA = {
    "architectures": ["LlamaForCausalLM"], "model_type": "llama", "hidden_act": "silu",
    "hidden_size": 72, "intermediate_size": 108, "num_hidden_layers": 2,
    "num_attention_heads": 6, "num_key_value_heads": 2, "head_dim": 16, "vocab_size": 227,
    "max_position_embeddings": 512, "rms_norm_eps": 1e-5, "rope_theta": 10000.0,
    "rope_scaling": {"factor": 8.0, "low_freq_factor": 1.0, "high_freq_factor": 4.0,
                     "original_max_position_embeddings": 96, "rope_type": "llama3"},
    "attention_bias": False, "mlp_bias": False, "pretraining_tp": 1,
    "tie_word_embeddings": False, "bos_token_id": 1, "eos_token_id": [2, 3, 4], "torch_dtype": "bfloat16",
}


def random_weights(model, seed):
    """Weights large enough for attention and logits to be far from uniform; every value is exact in bf16."""
    g = torch.Generator().manual_seed(seed)
    state = {}
    for name, p in model.named_parameters():
        x = torch.randn(p.shape, generator=g)
        if name.endswith("norm.weight"):
            x = 1 + 0.2 * x
        elif name.endswith(".bias"):
            x = 0.3 * x
        elif "embed_tokens" in name or "lm_head" in name:
            x = 0.25 * x
        else:
            x = x * (1.3 / p.shape[1] ** 0.5)
        state[name] = x.bfloat16()
    return state


def load(folder, dtype=torch.float32):
    return AutoModelForCausalLM.from_pretrained(folder, dtype=dtype, attn_implementation="eager")


def make_model(folder, config, seed, dtype, batch, length):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    cfg = transformers.AutoConfig.from_pretrained(folder)
    state = random_weights(AutoModelForCausalLM.from_config(cfg), seed)
    save_file({k: v.to(dtype) for k, v in state.items()}, folder / "model.safetensors", metadata={"format": "pt"})
    model = load(folder)
    for name, p in model.named_parameters():
        assert torch.equal(p, state[name].float()), name
    ids, mask = dump_golden.random_batch(cfg.vocab_size, batch, length, seed)
    tensors = dump_golden.golden(model, ids, mask, seed=seed, beta=0.04, greedy_tokens=32)
    save_file(tensors, folder / "golden.safetensors")
    f64_distance(folder, tensors)
    return ids, mask


def f64_distance(folder, tensors):
    """Print how far float32 sits from float64 (RMSNorm and RoPE stay in float32 in transformers)."""
    model = load(folder, torch.float64)
    logits, _ = dump_golden.forward(model, tensors["input_ids"], tensors["attention_mask"])
    loss = dump_golden.ce_loss(logits, tensors["input_ids"], tensors["attention_mask"])
    worst = ("", 0.0)
    for name, g in dump_golden.gradients(model, loss, "ce_grad.").items():
        error = ((tensors[name] - g).abs().max() / g.abs().max()).item()
        worst = max(worst, (name, error), key=lambda w: w[1])
    print(f"{folder.name}: float32 gradients are within {worst[1]:.1e} of float64 ({worst[0]})")


def adamw(folder, ids, mask, steps=10):
    """Losses before each of `steps` AdamW updates (and after the last) on the golden batch."""
    hyper = dict(lr=1e-2, betas=(0.9, 0.999), eps=1e-8, weight_decay=0.01)

    def losses(dtype):
        model = load(folder, dtype)
        optimizer = torch.optim.AdamW(model.parameters(), **hyper)
        out = []
        for _ in range(steps + 1):
            logits, _ = dump_golden.forward(model, ids, mask)
            loss = dump_golden.ce_loss(logits, ids, mask)
            out.append(loss.item())
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
        return out

    f32, f64 = losses(torch.float32), losses(torch.float64)
    drift = max(abs(a - b) / b for a, b in zip(f32, f64))
    print(f"adamw: {f32[0]:.4f} -> {f32[-1]:.4f}, float32 within {drift:.1e} of float64")
    return {"about": "torch.optim.AdamW on ce_loss of the golden batch, all weights in float32, constant learning rate, "
                     "no clipping; losses[i] is the loss before update i + 1",
            "torch": torch.__version__, **hyper, "losses": f32, "float32_vs_float64": drift}


def trl_loss(case, inputs):
    """Loss, d loss / d logp and metrics from TRL's own `_compute_loss`, in float64."""
    logps = inputs["logps"].clone().requires_grad_(True)
    mask = inputs["completion_mask"]
    trainer = SimpleNamespace(
        _get_per_token_logps_and_entropies=lambda *args, **kw: (logps, torch.zeros_like(logps), None),
        aux_loss_enabled=False, top_entropy_quantile=1.0, off_policy_mask_threshold=None,
        importance_sampling_level="token", beta=case["beta"], loss_type=case["loss_type"], use_vllm=False,
        epsilon_low=case["epsilon"], epsilon_high=case["epsilon_high"], _entropy_bonus_enabled=False,
        max_completion_length=inputs["max_completion_length"], current_gradient_accumulation_steps=1,
        args=SimpleNamespace(use_bias_correction_kl=False, delta=None, steps_per_generation=1),
        model=SimpleNamespace(training=True), _metrics={"train": defaultdict(list)},
        accelerator=SimpleNamespace(num_processes=1, gather=lambda x: x, reduce=lambda x, reduction: x),
    )
    blank = torch.zeros_like(mask, dtype=torch.long)
    batch = {"prompt_ids": blank[:, :1], "prompt_mask": blank[:, :1] + 1, "completion_ids": blank,
             "completion_mask": mask, "advantages": inputs["advantages"][case["scale_rewards"]],
             "num_items_in_batch": mask.sum()}
    if case["num_iterations"] > 1:
        batch["old_per_token_logps"] = inputs["old_logps"]
    if case["beta"] != 0:
        batch["ref_per_token_logps"] = inputs["ref_logps"]
    loss = GRPOTrainer._compute_loss(trainer, None, batch)
    loss.backward()
    metrics = {k: v[0] for k, v in trainer._metrics["train"].items() if k != "entropy"}
    return {**case, "loss": loss.item(), "metrics": metrics, "dlogp": logps.grad.flatten().tolist()}


def trl_advantages(rewards, num_generations, scale_rewards):
    """The lines of `GRPOTrainer._generate_and_score_completions` (multi_objective_aggregation sum_then_normalize)."""
    mean = torch.nanmean(rewards.view(-1, num_generations), dim=1).repeat_interleave(num_generations, dim=0)
    if scale_rewards in ["group", "none"]:
        std = nanstd(rewards.view(-1, num_generations), dim=1).repeat_interleave(num_generations, dim=0)
    else:
        std = nanstd(rewards).expand_as(rewards)
    advantages = rewards - mean
    if scale_rewards != "none":
        advantages = advantages / (std + 1e-4)
    return advantages


def grpo_losses():
    """Four loss types x three reward scalings x on/off policy x clipping x beta, on shared random inputs."""
    g = torch.Generator().manual_seed(7)
    batch, length, num_generations = 12, 6, 4
    logps = -torch.rand(batch, length, generator=g, dtype=torch.float64) * 4
    old_logps = logps + 0.3 * torch.randn(batch, length, generator=g, dtype=torch.float64)
    ref_logps = logps + 0.5 * torch.randn(batch, length, generator=g, dtype=torch.float64)
    lengths = torch.randint(1, length + 1, (batch,), generator=g)
    lengths[0], lengths[5] = length, 0  # a full completion and an empty one
    mask = (torch.arange(length)[None] < lengths[:, None]).double()
    rewards = torch.randint(0, 3, (batch,), generator=g).double() / 2
    rewards[8:] = 1.0  # the third group has no variance
    inputs = {"logps": logps, "old_logps": old_logps, "ref_logps": ref_logps, "completion_mask": mask,
              "max_completion_length": 10,
              "advantages": {s: trl_advantages(rewards, num_generations, s) for s in ["group", "batch", "none"]}}
    cases = []
    for loss_type in ["grpo", "dr_grpo", "dapo", "bnpo"]:
        for scale_rewards in ["group", "batch", "none"]:
            for beta in [0.0, 0.04]:
                for num_iterations, epsilon, epsilon_high in [(1, 0.2, 0.2), (2, 0.2, 0.2), (2, 0.1, 0.28)]:
                    cases.append(trl_loss(dict(loss_type=loss_type, scale_rewards=scale_rewards, beta=beta,
                                               num_iterations=num_iterations, epsilon=epsilon,
                                               epsilon_high=epsilon_high), inputs))
    return {"about": "GRPOTrainer._compute_loss in float64; [B,T] values are flattened row by row; num_iterations 1 = on "
                     "policy (old_logps unused), beta 0 = ref_logps unused; dlogp = d loss / d logps",
            "trl": trl.__version__, "B": batch, "T": length, "num_generations": num_generations,
            "max_completion_length": inputs["max_completion_length"], "rewards": rewards.tolist(),
            "completion_mask": mask.int().flatten().tolist(),
            **{k: inputs[k].flatten().tolist() for k in ["logps", "old_logps", "ref_logps"]},
            "advantages": {k: v.tolist() for k, v in inputs["advantages"].items()}, "cases": cases}


def rope_frequencies():
    """Frequencies of transformers (`ROPE_INIT_FUNCTIONS`, in float32) for the llama3 type: published models', and this folder's."""
    llama3 = {"rope_type": "llama3", "low_freq_factor": 1.0, "high_freq_factor": 4.0}
    cases = []
    for head_dim, rope in [
        (128, {**llama3, "rope_theta": 500000.0, "factor": 8.0, "original_max_position_embeddings": 8192}),
        (64, {**llama3, "rope_theta": 500000.0, "factor": 32.0, "original_max_position_embeddings": 8192}),
        (LLAMA["head_dim"], {**LLAMA["rope_scaling"], "rope_theta": LLAMA["rope_theta"]}),
    ]:
        config = transformers.LlamaConfig(hidden_size=4 * head_dim, num_attention_heads=4, head_dim=head_dim,
                                          max_position_embeddings=131072, rope_parameters=dict(rope))
        frequencies, factor = ROPE_INIT_FUNCTIONS["llama3"](config, "cpu")
        assert factor == 1.0
        cases.append({"head_dim": head_dim, "rope_parameters": rope, "inv_freq": frequencies.tolist()})
    return {"about": "rotary frequencies of transformers for rope_type llama3, computed in float32",
            "transformers": transformers.__version__, "cases": cases}


def write_json(path, value):
    """One line per key, and per case."""
    value = copy.copy(value)
    cases = value.pop("cases", None)
    lines = [f"{json.dumps(k)}: {json.dumps(v, allow_nan=False)}" for k, v in value.items()]
    if cases is not None:
        lines.append('"cases": [\n' + ",\n".join(json.dumps(c, allow_nan=False) for c in cases) + "\n]")
    path.write_text("{\n" + ",\n".join(lines) + "\n}\n")


def main():
    out = Path(sys.argv[1]) if len(sys.argv) > 1 else Path(__file__).parent.parent / "kernels-tests/golden"
    transformers.utils.logging.disable_progress_bar()
    ids, mask = make_model(out / "tied", TIED, 1, torch.bfloat16, batch=3, length=12)
    make_model(out / "untied", UNTIED, 2, torch.float32, batch=4, length=13)
    make_model(out / "llama", LLAMA, 3, torch.bfloat16, batch=4, length=14)
    write_json(out / "rope.json", rope_frequencies())
    write_json(out / "adamw.json", adamw(out / "tied", ids, mask))
    write_json(out / "grpo_losses.json", grpo_losses())
    for path in sorted(out.rglob("*")):
        if path.is_file():
            print(f"{path.stat().st_size:>9} {path.relative_to(out)}")


if __name__ == "__main__":
    main()
