#!/usr/bin/env python3
"""Write reference values of a Qwen2 or Llama model, computed by PyTorch, for `probity verify`.

    python scripts/dump_golden.py --model Qwen/Qwen2.5-0.5B-Instruct --out golden.safetensors
    probity verify --model DIR --golden golden.safetensors --device auto

Needs torch, transformers and safetensors. The model is loaded in float32, whatever its file holds (a bf16 weight is
exact in f32), and runs with eager attention on the CPU. Memory: about 12 bytes per parameter, and OUT holds two
gradients of every parameter (8 bytes per parameter; `--no-gradients` leaves them out).

What OUT holds (float tensors f32, ids and masks i64; B sequences of at most T tokens, right padding):

    input_ids [B,T], attention_mask [B,T]   a random batch of ragged lengths
    logits [B,T,V]
    hidden.{l} [B,T,H]                      residual stream entering block l; hidden.{L} leaves the last block, before the
                                            final norm (transformers' own `hidden_states[-1]` is after it)
    ce_loss [1], ce_grad.{parameter}        mean next-token cross entropy over targets that are not padding
    grpo.completion_mask [B,T-1]            1 where target t+1 belongs to the completion
    grpo.advantages [B], grpo.ref_logps [B,T-1], grpo.beta [1]
    grpo_loss [1], grpo_grad.{parameter}    TRL's loss_type="grpo" on policy: ratio exp(l - l.detach()), k3 KL,
                                            mean over sequences of the mean over completion tokens, temperature 1
    greedy.prompt [P], greedy.tokens [N]    N greedy ids after the prompt, end tokens do not stop it

A tied embedding has one gradient, `model.embed_tokens.weight`.
"""

import argparse

import torch
import torch.nn.functional as F
from safetensors.torch import save_file
from transformers import AutoModelForCausalLM


def random_batch(vocab_size, batch, length, seed):
    """Random ids [batch, length] and a right-padding mask; the first row is full, the others are ragged."""
    g = torch.Generator().manual_seed(seed)
    ids = torch.randint(vocab_size, (batch, length), generator=g)
    lengths = torch.randint(max(2, length // 2), length + 1, (batch,), generator=g)
    lengths[0] = length
    mask = (torch.arange(length)[None] < lengths[:, None]).long()
    return ids * mask, mask


def token_logps(logits, ids):
    """Log-probability of ids[:, t+1] given the tokens up to t: [B, T-1]."""
    return torch.gather(logits[:, :-1].log_softmax(-1), 2, ids[:, 1:, None]).squeeze(2)


def ce_loss(logits, ids, mask):
    """Mean next-token cross entropy over the targets that are not padding."""
    targets = ids[:, 1:].masked_fill(mask[:, 1:] == 0, -100)
    return F.cross_entropy(logits[:, :-1].flatten(0, 1), targets.flatten(), ignore_index=-100)


def grpo_loss(logps, ref_logps, advantages, completion_mask, beta):
    """TRL's loss_type="grpo" with num_iterations=1: the ratio is 1 and carries the gradient."""
    ratio = torch.exp(logps - logps.detach())
    kl = torch.exp(ref_logps - logps) - (ref_logps - logps) - 1
    per_token = -ratio * advantages[:, None] + beta * kl
    return ((per_token * completion_mask).sum(-1) / completion_mask.sum(-1).clamp(min=1)).mean()


def forward(model, ids, mask):
    """Logits and the residual stream at the entry of every block and after the last: [B,T,V], L+1 times [B,T,H]."""
    hidden = []
    layers = model.model.layers
    hooks = [layer.register_forward_pre_hook(lambda _, args: hidden.append(args[0].detach())) for layer in layers]
    hooks.append(layers[-1].register_forward_hook(lambda _, args, out: hidden.append(
        (out[0] if isinstance(out, tuple) else out).detach())))
    logits = model(input_ids=ids, attention_mask=mask, use_cache=False).logits
    for hook in hooks:
        hook.remove()
    return logits, hidden


def gradients(model, loss, prefix):
    model.zero_grad(set_to_none=True)
    loss.backward()
    return {prefix + name: p.grad.clone() for name, p in model.named_parameters()}


@torch.no_grad()
def greedy(model, prompt, count):
    """`count` greedy ids and the smallest lead of a chosen logit over the runner-up."""
    out, past, step, margin = [], None, prompt[None], float("inf")
    for _ in range(count):
        result = model(input_ids=step, past_key_values=past, use_cache=True)
        past, last = result.past_key_values, result.logits[0, -1]
        top = last.topk(2).values
        margin = min(margin, (top[0] - top[1]).item())
        step = last.argmax()[None, None]
        out.append(step.item())
    return torch.tensor(out), margin


def golden(model, ids, mask, seed=0, beta=0.04, greedy_tokens=32, with_gradients=True):
    """All keys of the golden file for one batch."""
    model.eval()
    g = torch.Generator().manual_seed(seed + 1)
    out = {"input_ids": ids, "attention_mask": mask}

    logits, hidden = forward(model, ids, mask)
    out["logits"] = logits.detach()
    out |= {f"hidden.{l}": h for l, h in enumerate(hidden)}
    loss = ce_loss(logits, ids, mask)
    out["ce_loss"] = loss.detach()[None]
    if with_gradients:
        out |= gradients(model, loss, "ce_grad.")

    # The completion starts at a different place in every sequence and ends where the padding starts.
    batch, length = ids.shape
    start = torch.randint(1, max(2, length // 2), (batch, 1), generator=g)
    completion_mask = ((torch.arange(1, length)[None] >= start) & (mask[:, 1:] == 1)).float()
    rewards = torch.rand(batch, generator=g)
    spread = rewards.std() if batch > 1 else torch.tensor(0.0)
    advantages = (rewards - rewards.mean()) / (spread + 1e-4) if batch > 1 else torch.ones(1)
    logits, _ = forward(model, ids, mask)
    logps = token_logps(logits, ids)
    ref_logps = (logps.detach() + 0.3 * torch.randn(logps.shape, generator=g)) * completion_mask
    loss = grpo_loss(logps, ref_logps, advantages, completion_mask, beta)
    out["grpo.completion_mask"] = completion_mask
    out["grpo.advantages"] = advantages
    out["grpo.ref_logps"] = ref_logps
    out["grpo.beta"] = torch.tensor([beta])
    out["grpo_loss"] = loss.detach()[None]
    if with_gradients:
        out |= gradients(model, loss, "grpo_grad.")

    if greedy_tokens > 0:
        prompt = ids[0, : max(1, length // 2)].clone()
        out["greedy.prompt"] = prompt
        out["greedy.tokens"], margin = greedy(model, prompt, greedy_tokens)
        print(f"greedy: the smallest lead of a chosen logit over the next is {margin:.1e}"
              + (" (close to rounding: another --seed is better)" if margin < 1e-3 else ""))
    return {name: t.detach().cpu().contiguous().to(torch.int64 if not t.is_floating_point() else torch.float32)
            for name, t in out.items()}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="folder or Hugging Face id")
    parser.add_argument("--out", required=True, help="the .safetensors file to write")
    parser.add_argument("--batch", type=int, default=2, help="sequences (default 2)")
    parser.add_argument("--length", type=int, default=16, help="tokens of the longest sequence (default 16)")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--beta", type=float, default=0.04, help="weight of the KL term (default 0.04)")
    parser.add_argument("--greedy-tokens", type=int, default=32, help="0 leaves the greedy part out (default 32)")
    parser.add_argument("--no-gradients", action="store_true", help="leave ce_grad.* and grpo_grad.* out")
    args = parser.parse_args()
    if args.batch < 1 or args.length < 2:
        parser.error("--batch must be at least 1 and --length at least 2")

    model = AutoModelForCausalLM.from_pretrained(args.model, dtype=torch.float32, attn_implementation="eager")
    ids, mask = random_batch(model.config.vocab_size, args.batch, args.length, args.seed)
    tensors = golden(model, ids, mask, args.seed, args.beta, args.greedy_tokens, not args.no_gradients)
    save_file(tensors, args.out)
    print(f"{args.out}: {len(tensors)} tensors, batch {args.batch} x {args.length}, "
          f"ce_loss {tensors['ce_loss'].item():.6f}, grpo_loss {tensors['grpo_loss'].item():.6f}")


if __name__ == "__main__":
    main()
