#!/usr/bin/env python3
"""Draw docs/bf16.svg: what share of bf16 weights one AdamW update changes, rounded to nearest and stochastically.

    python scripts/bf16_figure.py [MODEL_FOLDER]        # needs numpy; default: the embedded model of data/tiny

AdamW moves a weight by at most about the learning rate, by that much early on and where the gradient keeps its sign. Every matrix of the
folder's model.safetensors is moved by the learning rate up and down, half of the weights each, and stored in bf16 again.
"""

import json
import struct
import sys
from pathlib import Path

import numpy as np

RATES = [10 ** (-7 + i / 4) for i in range(17)]


def matrices(folder):
    """f32 values of every matrix; bf16 and f32 files."""
    data = (Path(folder) / "model.safetensors").read_bytes()
    (n,) = struct.unpack("<Q", data[:8])
    for name, t in json.loads(data[8 : 8 + n]).items():
        if name != "__metadata__" and len(t["shape"]) == 2:
            raw = data[8 + n + t["data_offsets"][0] : 8 + n + t["data_offsets"][1]]
            if t["dtype"] == "BF16":
                yield (np.frombuffer(raw, "<u2").astype(np.uint32) << 16).view(np.float32)
            else:
                bits = np.frombuffer(raw, "<u4")
                yield (bits & 0xFFFF0000).view(np.float32)


def changed(w, rate, rng, stochastic):
    step = np.where(rng.random(w.shape) < 0.5, np.float32(rate), np.float32(-rate))
    bits = (w + step).astype(np.float32).view(np.uint32).astype(np.uint64)
    add = rng.integers(0, 1 << 16, w.shape, dtype=np.uint64) if stochastic else 0x7FFF + ((bits >> 16) & 1)
    return float(np.mean(((bits + add) >> 16) != (w.view(np.uint32) >> 16)))


def main():
    folder = sys.argv[1] if len(sys.argv) > 1 else "data/tiny"
    w = np.concatenate(list(matrices(folder)))
    rng = np.random.default_rng(0)
    curves = {kind: [changed(w, r, rng, kind == "stochastic") for r in RATES] for kind in ("nearest", "stochastic")}
    width, height, left, top, right, bottom = 640, 360, 56, 16, 150, 44
    x = lambda i: left + i / (len(RATES) - 1) * (width - left - right)
    y = lambda s: top + (1 - s) * (height - top - bottom)
    out = [f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" font-size="12">',
           f'<rect width="{width}" height="{height}" fill="#fff"/>']
    for s in range(0, 101, 25):
        out.append(f'<line x1="{left}" x2="{width - right}" y1="{y(s / 100):.1f}" y2="{y(s / 100):.1f}" stroke="#ddd"/>'
                   f'<text x="{left - 6}" y="{y(s / 100) + 4:.1f}" text-anchor="end">{s} %</text>')
    for i in range(0, len(RATES), 4):
        out.append(f'<text x="{x(i):.1f}" y="{height - bottom + 18}" text-anchor="middle">1e{round(np.log10(RATES[i]))}</text>')
    out.append(f'<text x="{(left + width - right) / 2}" y="{height - 6}" text-anchor="middle">change of a weight (learning rate)</text>')
    for (kind, curve), colour, words in zip(curves.items(), ("#c0392b", "#1f6fb4"), ("rounded to nearest", "rounded at random")):
        points = " ".join(f"{x(i):.1f},{y(s):.1f}" for i, s in enumerate(curve))
        out.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"/>'
                   f'<text x="{width - right + 8}" y="{y(curve[-1]) + (14 if kind == "nearest" else -2):.1f}" fill="{colour}">{words}</text>')
    i = RATES.index(min(RATES, key=lambda r: abs(r - 1e-5)))
    out.append(f'<line x1="{x(i):.1f}" x2="{x(i):.1f}" y1="{top}" y2="{height - bottom}" stroke="#999" stroke-dasharray="4 3"/></svg>')
    Path("docs/bf16.svg").write_text("\n".join(out) + "\n")
    print(f"{folder}: {w.size} weights, median magnitude {np.median(np.abs(w)):.4f}; at 1e-5 nearest {curves['nearest'][i]:.3f}, "
          f"stochastic {curves['stochastic'][i]:.3f}")


if __name__ == "__main__":
    main()
