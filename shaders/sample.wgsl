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

var<workgroup> lane_triple: array<vec3<f32>, LANES>;
var<workgroup> block_triple: array<vec3<f32>, BLOCKS>;

// `reduce_add` of three values at once.
fn reduce_add3(value: vec3<f32>, lid: u32) -> vec3<f32> {
    lane_triple[lid] = value;
    workgroupBarrier();
    if (lid < BLOCKS) {
        var sum = lane_triple[lid];
        for (var i = lid + BLOCKS; i < LANES; i += BLOCKS) {
            sum += lane_triple[i];
        }
        block_triple[lid] = sum;
    }
    workgroupBarrier();
    var all = block_triple[0];
    for (var b = 1u; b < BLOCKS; b++) {
        all += block_triple[b];
    }
    return all;
}

// The last of three rising probes that holds, else `at`.
fn furthest(at: u32, probe: vec3<u32>, holds: vec3<bool>) -> u32 {
    return select(select(select(at, probe.x, holds.x), probe.y, holds.y), probe.z, holds.z);
}

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

    // Logits are read four at a time, added one by one: waiting for memory is most of the work.
    let ahead = max(p.cols, 3u * LANES) - 3u * LANES;
    var high = z[base];
    var c = lid;
    for (; c < ahead; c += 4u * LANES) {
        let x = four(base + c);
        high = max(max(max(high, x.x), x.y), max(x.z, x.w));
    }
    for (; c < p.cols; c += LANES) {
        high = max(high, z[base + c]);
    }
    let top = reduce_max(high, lid);
    let top_key = order(top);

    if (p.greedy != 0u) {
        var found = p.cols;
        for (c = lid; c < p.cols; c += LANES) {
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
            // The largest key that at least top_k logits reach, two bits at a time.
            for (var shift = 32u; shift > 0u; shift -= 2u) {
                let probe = vec3(cut) | (vec3(1u, 2u, 3u) << vec3(shift - 2u));
                var count = vec3(0.0);
                for (c = lid; c < ahead; c += 4u * LANES) {
                    let x = four(base + c);
                    count += reaches(x.x, probe) + reaches(x.y, probe) + reaches(x.z, probe) + reaches(x.w, probe);
                }
                for (; c < p.cols; c += LANES) {
                    count += reaches(z[base + c], probe);
                }
                cut = furthest(cut, probe, reduce_add3(count, lid) >= vec3(f32(p.top_k)));
            }
        }
        if (p.top_p < 1.0) {
            var mass = 0.0;
            for (c = lid; c < ahead; c += 4u * LANES) {
                let x = four(base + c);
                mass += weight(x.x, top, cut);
                mass += weight(x.y, top, cut);
                mass += weight(x.z, top, cut);
                mass += weight(x.w, top, cut);
            }
            for (; c < p.cols; c += LANES) {
                mass += weight(z[base + c], top, cut);
            }
            let want = p.top_p * reduce_add(mass, lid);
            // The largest key with at least `want` of the mass above it: what is above it is kept.
            var below = 0u;
            for (var shift = 32u; shift > 0u; shift -= 2u) {
                let probe = vec3(below) | (vec3(1u, 2u, 3u) << vec3(shift - 2u));
                var above = vec3(0.0);
                for (c = lid; c < ahead; c += 4u * LANES) {
                    let x = four(base + c);
                    above += heavier(x.x, top, cut, probe);
                    above += heavier(x.y, top, cut, probe);
                    above += heavier(x.z, top, cut, probe);
                    above += heavier(x.w, top, cut, probe);
                }
                for (; c < p.cols; c += LANES) {
                    above += heavier(z[base + c], top, cut, probe);
                }
                below = furthest(below, probe, reduce_add3(above, lid) >= vec3(want));
            }
            cut = max(cut, min(below, top_key - 1u) + 1u); // the largest logit always stays
        }

        let size = (p.cols + LANES - 1u) / LANES;
        let begin = min(lid * size, p.cols);
        let end = min(begin + size, p.cols);
        var own = 0.0;
        for (c = begin; c < end; c++) {
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
            for (c = begin; c < end; c++) {
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

// Every LANES-th logit from index `at` on.
fn four(at: u32) -> vec4<f32> {
    return vec4(z[at], z[at + LANES], z[at + 2u * LANES], z[at + 3u * LANES]);
}

// Counts of 1 where the key of `x` is at least the probe.
fn reaches(x: f32, probe: vec3<u32>) -> vec3<f32> {
    return select(vec3(0.0), vec3(1.0), vec3(order(x)) >= probe);
}

// The weight of `x` where its key is above the probe.
fn heavier(x: f32, top: f32, cut: u32, probe: vec3<u32>) -> vec3<f32> {
    return select(vec3(0.0), vec3(weight(x, top, cut)), vec3(order(x)) > probe);
}

// exp((x - top)/T) of a kept logit, 0 of another.
fn weight(x: f32, top: f32, cut: u32) -> f32 {
    return select(0.0, exp((x - top) * p.inv_temperature), order(x) >= cut);
}
