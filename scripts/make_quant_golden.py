#!/usr/bin/env python3
"""Write src/ops/quant/golden.json: weights, codes, scales and values of the quantised formats, computed by NumPy alone.

    python scripts/make_quant_golden.py          # needs numpy

NF4 follows bitsandbytes (the 16 levels of QLoRA, the nearest one of w / absmax), int4 ggml's Q4_0, int8 symmetric rounding. Scales are bf16,
rounded away from zero. The table at the end is the error on 262,144 Gaussian weights, with the alternatives that were not taken.
"""

import json
from pathlib import Path

import numpy as np

NF4 = np.array(
    [-1.0, -0.6961928009986877, -0.5250730514526367, -0.39491748809814453, -0.28444138169288635, -0.18477343022823334,
     -0.09105003625154495, 0.0, 0.07958029955625534, 0.16093020141124725, 0.24611230194568634, 0.33791524171829224,
     0.44070982933044434, 0.5626170039176941, 0.7229568362236023, 1.0], np.float32)
GROUP = {"int8": 32, "int4": 32, "nf4": 64}


def away(x):
    """bf16 bits, rounded away from zero, as f32."""
    u = x.astype(np.float32).view(np.uint32)
    m = np.minimum((u.astype(np.uint64) & 0x7FFFFFFF) + 0xFFFF >> 16, 0x7F7F).astype(np.uint32)
    return ((u >> 31 << 31) | m << 16).view(np.float32)


def quantise(kind, w, size=None):
    """Codes, scales and values of a row of f32."""
    codes, scales, values = [], [], []
    size = size or GROUP[kind]
    for g in range(0, len(w), size):
        part = w[g : g + size]
        top = part[np.argmax(np.abs(part))]
        raw = {"int8": abs(top) / np.float32(127), "int4": top / np.float32(-8), "nf4": abs(top)}[kind]
        s = away(np.array([raw]))[0]
        ratio = part / s if s != 0 else np.zeros_like(part)
        if kind == "int8":
            q = np.clip(np.rint(ratio), -127, 127)
            c, v = q.astype(np.int64) & 255, q.astype(np.int64).astype(np.float32) * s
        elif kind == "int4":
            q = np.clip(np.rint(ratio), -8, 7)
            c, v = q.astype(np.int64) + 8, q.astype(np.int64).astype(np.float32) * s
        else:
            c = np.argmin(np.abs(ratio[:, None].astype(np.float64) - NF4[None].astype(np.float64)), axis=1)
            v = NF4[c] * s
        codes += c.tolist()
        scales.append(int(s.view(np.uint32) >> 16))
        values += v.astype(np.float32).view(np.uint32).tolist()
    return codes, scales, values


def with_minimum(w, size):
    """Four bits, a scale and a minimum for each group (ggml's Q4_1), both exact."""
    g = w.reshape(-1, size)
    low, high = g.min(1, keepdims=True), g.max(1, keepdims=True)
    s = (high - low) / 15
    return (np.clip(np.rint((g - low) / s), 0, 15) * s + low).ravel()


def main():
    rng = np.random.default_rng(17)
    cases = []
    for name, w in [
        ("gaussian", rng.normal(0, 0.02, 192)),
        ("a short last group", rng.normal(0, 1, 100)),
        ("shorter than a group", rng.normal(0, 3e-3, 12)),
        ("zeros, then one weight", np.r_[np.zeros(64), 1.5, np.zeros(63)]),
        ("an outlier", np.r_[rng.normal(0, 0.01, 63), -4.0]),
        ("tiny and huge", np.r_[rng.normal(0, 1e-30, 64), rng.normal(0, 1e30, 64)]),
    ]:
        w = w.astype(np.float32)
        case = {"name": name, "weights": w.view(np.uint32).tolist()}
        for kind in GROUP:
            codes, scales, values = quantise(kind, w)
            case[kind] = {"codes": codes, "scales": scales, "values": values}
        cases.append(case)
    out = {"nf4_levels": NF4.view(np.uint32).tolist(), "cases": cases}
    path = Path(__file__).resolve().parent.parent / "src/ops/quant/golden.json"
    path.write_text(json.dumps(out, separators=(",", ":")) + "\n")

    w = rng.normal(0, 1, 1 << 18).astype(np.float32)
    nmse = lambda v: float(((v.astype(np.float64) - w) ** 2).sum() / (w.astype(np.float64) ** 2).sum())
    for kind, size in [("int8", 32), ("int8", 64), ("int4", 32), ("int4", 64), ("nf4", 32), ("nf4", 64)]:
        print(f"{kind} in groups of {size}: {nmse(np.array(quantise(kind, w, size)[2], np.uint32).view(np.float32)):.6f}")
    for size in (32, 64):
        print(f"int4 with a minimum in groups of {size}: {nmse(with_minimum(w, size)):.6f}")


main()
