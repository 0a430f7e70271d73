#!/usr/bin/env python3
"""Make the committed LoRA reference values under kernels-tests/golden/lora-*/ with PEFT (see the README there).

    python scripts/make_lora_golden.py

Needs torch, transformers, peft and safetensors; run it in the project's root after scripts/make_golden.py.
"""

import json
from pathlib import Path

import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM

import dump_golden

ROOT = Path("kernels-tests/golden")
# A rank that is no multiple of four with rslora on some projections; an ordinary one on all of them.
CASES = {
    "lora-all": ("tied", dict(r=8, lora_alpha=16, target_modules=[
        "q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"])),
    "lora-some": ("untied", dict(r=5, lora_alpha=9.5, use_rslora=True, target_modules=["q_proj", "v_proj", "down_proj"])),
    "lora-llama": ("llama", dict(r=4, lora_alpha=8, target_modules=["q_proj", "k_proj", "o_proj", "up_proj"])),
}


def main():
    for name, (base, config) in CASES.items():
        folder, source = ROOT / name, str(ROOT / base)
        model = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32, attn_implementation="eager")
        model = get_peft_model(model, LoraConfig(task_type="CAUSAL_LM", **config)).eval()
        g = torch.Generator().manual_seed(7)
        for parameter, p in model.named_parameters():
            if "lora_" in parameter:
                p.data = torch.randn(p.shape, generator=g) * (0.8 / p.shape[1] ** 0.5)
        model.peft_config["default"].base_model_name_or_path = source
        model.save_pretrained(folder, save_embedding_layers=False)
        (folder / "README.md").unlink(missing_ok=True)
        batch = load_file(ROOT / base / "golden.safetensors")
        ids, mask = batch["input_ids"], batch["attention_mask"]
        logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
        loss = dump_golden.ce_loss(logits, ids, mask)
        loss.backward()
        grads = {f"ce_grad.{n.replace('.default', '')}": p.grad for n, p in model.named_parameters() if p.grad is not None}
        tensors = {"input_ids": ids, "attention_mask": mask, "logits": logits.detach(), "ce_loss": loss.detach()[None]} | grads
        save_file({k: v.contiguous() for k, v in tensors.items()}, folder / "golden.safetensors")
        print(name, len(grads), "gradients, loss", loss.item(), json.loads((folder / "adapter_config.json").read_text())["r"])


if __name__ == "__main__":
    main()
