// One token per row of logits. Greedy: the first largest. Otherwise the kept set (top-k, then top-p of what top-k keeps) is
// found by bisection over keys that order floats as integers, and the token by the inverse of the cumulative distribution in
// vocabulary order: lane l owns the l-th of LANES consecutive chunks.
struct Params {
    rows: u32,
    cols: u32, // vocabulary
    inv_temperature: f32,
    top_k: u32, // 0 = all
    top_p: f32, // 1 = all
    greedy: u32,
    first: u32, // row of ids and keys that row 0 of the logits is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> z: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> keys: array<u32>; // [all rows, 4]: sequence, position, seed low, seed high
@group(0) @binding(2) var<storage, read_write> ids: array<u32>; // [all rows]

var<workgroup> chunk_mass: array<f32, LANES>;

// An integer that orders as the float does; both zeros get the same one.
fn order(x: f32) -> u32 {
    let bits = bitcast<u32>(select(x, 0.0, x == 0.0));
    return select(bits | 0x80000000u, ~bits, bits >= 0x80000000u);
}

// High and low words of a 32 x 32 bit product from 16-bit halves.
fn mul_wide(a: u32, b: u32) -> vec2<u32> {
    let al = a & 0xffffu;
    let ah = a >> 16u;
    let bl = b & 0xffffu;
    let bh = b >> 16u;
    let low = al * bl;
    let mid = ah * bl + (low >> 16u);
    let cross = al * bh + (mid & 0xffffu);
    return vec2(ah * bh + (mid >> 16u) + (cross >> 16u), a * b);
}

// Philox4x32-10 (Salmon et al. 2011).
fn philox(counter: vec4<u32>, seed: vec2<u32>) -> vec4<u32> {
    var c = counter;
    var s = seed;
    for (var round = 0u; round < 10u; round++) {
        let a = mul_wide(0xD2511F53u, c.x);
        let b = mul_wide(0xCD9E8D57u, c.z);
        c = vec4(b.x ^ c.y ^ s.x, b.y, a.x ^ c.w ^ s.y, a.y);
        s += vec2(0x9E3779B9u, 0xBB67AE85u);
    }
    return c;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let slot = linear_group(group, groups);
    let row = min(slot, p.rows - 1u); // a spare group repeats the last row and stores the same id
    let base = row * p.cols;

    var high = z[base];
    for (var c = lid; c < p.cols; c += LANES) {
        high = max(high, z[base + c]);
    }
    let top = reduce_max(high, lid);
    let top_key = order(top);

    if (p.greedy != 0u) {
        var found = p.cols;
        for (var c = lid; c < p.cols; c += LANES) {
            found = min(found, select(p.cols, c, order(z[base + c]) == top_key));
        }
        // Indices are below 2^24, exact in f32.
        let first = reduce_max(-f32(found), lid);
        if (lid == 0u) {
            ids[p.first + row] = min(u32(-first), p.cols - 1u);
        }
    } else {
        var cut = 0u; // the smallest key that is kept
        if (p.top_k > 0u && p.top_k < p.cols) {
            // The largest key that at least top_k logits reach.
            for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
                let probe = cut | bit;
                var count = 0.0;
                for (var c = lid; c < p.cols; c += LANES) {
                    count += select(0.0, 1.0, order(z[base + c]) >= probe);
                }
                if (reduce_add(count, lid) >= f32(p.top_k)) {
                    cut = probe;
                }
            }
        }
        if (p.top_p < 1.0) {
            var mass = 0.0;
            for (var c = lid; c < p.cols; c += LANES) {
                mass += weight(z[base + c], top, cut);
            }
            let want = p.top_p * reduce_add(mass, lid);
            // The largest key with at least `want` of the mass above it: what is above it is kept.
            var below = 0u;
            for (var bit = 0x80000000u; bit > 0u; bit >>= 1u) {
                let probe = below | bit;
                var above = 0.0;
                for (var c = lid; c < p.cols; c += LANES) {
                    let x = z[base + c];
                    above += select(0.0, weight(x, top, cut), order(x) > probe);
                }
                if (reduce_add(above, lid) >= want) {
                    below = probe;
                }
            }
            cut = max(cut, min(below, top_key - 1u) + 1u); // the largest logit always stays
        }

        let size = (p.cols + LANES - 1u) / LANES;
        let begin = min(lid * size, p.cols);
        let end = min(begin + size, p.cols);
        var own = 0.0;
        for (var c = begin; c < end; c++) {
            own += weight(z[base + c], top, cut);
        }
        chunk_mass[lid] = own;
        workgroupBarrier();
        var kept = 0.0;
        for (var i = 0u; i < LANES; i++) {
            kept += chunk_mass[i];
        }
        let key = (p.first + row) * 4u;
        let word = philox(vec4(keys[key], keys[key + 1u], 0u, 0u), vec2(keys[key + 2u], keys[key + 3u])).x;
        let goal = f32(word >> 8u) * 0x1p-24 * kept;
        // The first chunk whose running sum passes the goal; the last one with mass should rounding let none.
        var before = 0.0;
        var start = 0.0;
        var chunk = 0u;
        var passed = false;
        for (var i = 0u; i < LANES; i++) {
            let m = chunk_mass[i];
            if (!passed && m > 0.0) {
                chunk = i;
                start = before;
            }
            before += m;
            passed = passed || before > goal;
        }
        if (lid == chunk) {
            var run = start;
            var id = begin;
            var done = false;
            for (var c = begin; c < end; c++) {
                let m = weight(z[base + c], top, cut);
                if (!done && m > 0.0) {
                    id = c;
                }
                run += m;
                done = done || run > goal;
            }
            ids[p.first + row] = id;
        }
    }
}

// exp((x - top)/T) of a kept logit, 0 of another.
fn weight(x: f32, top: f32, cut: u32) -> f32 {
    return select(0.0, exp((x - top) * p.inv_temperature), order(x) >= cut);
}
