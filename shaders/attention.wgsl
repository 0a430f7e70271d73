// Softmax attention with grouped heads by the online softmax of Milakov & Gimelshein (2018).
// LANES invocations share one (query row, head). Keys are taken in tiles of four counted from the row's first key, tile t by
// lane t % LANES, and the lanes are merged in order: the result depends on the row's own query and keys, never on its neighbours.
struct Params {
    items: u32, // query rows * HEADS
    scale: f32,
    first: u32, // query row of the batch that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> q: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(1) var<storage, read> k: array<vec4<f32>>; // [keys, KV_HEADS, HEAD4]
@group(0) @binding(2) var<storage, read> v: array<vec4<f32>>; // [keys, KV_HEADS, HEAD4]
@group(0) @binding(3) var<storage, read> kstart: array<u32>; // [all rows]
@group(0) @binding(4) var<storage, read> klen: array<u32>; // [all rows]
@group(0) @binding(5) var<storage, read_write> out: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(6) var<storage, read_write> lse: array<f32>; // [all rows, HEADS]

const LOWEST: f32 = -1e30;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let slot = linear_group(group, groups) * (WG / LANES) + lid / LANES;
    let lane = lid % LANES;
    let live = slot < p.items;
    let item = select(0u, slot, live);
    let row = p.first + item / HEADS;
    let kv_head = (item % HEADS) / (HEADS / KV_HEADS);
    let start = kstart[row];
    let len = klen[row];

    var query: array<vec4<f32>, HEAD4>;
    var acc: array<vec4<f32>, HEAD4>;
    for (var i = 0u; i < HEAD4; i++) {
        query[i] = q[item * HEAD4 + i] * p.scale;
        acc[i] = vec4(0.0);
    }
    var top = LOWEST;
    var sum = 0.0;
    for (var t = lane * 4u; t < len; t += LANES * 4u) {
        let index = vec4(t) + vec4(0u, 1u, 2u, 3u);
        let seen = index < vec4(len);
        let key = ((vec4(start) + min(index, vec4(len - 1u))) * KV_HEADS + kv_head) * HEAD4;
        var s = vec4(0.0);
        for (var i = 0u; i < HEAD4; i++) {
            let qi = query[i];
            s += vec4(dot(qi, k[key.x + i]), dot(qi, k[key.y + i]), dot(qi, k[key.z + i]), dot(qi, k[key.w + i]));
        }
        s = select(vec4(LOWEST), s, seen);
        let high = max(top, max(max(s.x, s.y), max(s.z, s.w)));
        let fade = exp(top - high);
        let e = select(vec4(0.0), exp(s - high), seen);
        top = high;
        sum = sum * fade + ((e.x + e.y) + (e.z + e.w));
        for (var i = 0u; i < HEAD4; i++) {
            acc[i] = acc[i] * fade
                + ((e.x * v[key.x + i] + e.y * v[key.y + i]) + (e.z * v[key.z + i] + e.w * v[key.w + i]));
        }
    }

    let all = merge_softmax(top, sum, lid);
    let weight = exp(top - all.x) / select(1.0, all.y, all.y > 0.0);
    for (var i = 0u; i < HEAD4; i++) {
        acc[i] *= weight;
    }
    merge_sum(&acc, lid);
    if (live) {
        for (var i = 0u; i < HEAD4; i++) {
            if (i % LANES == lane) {
                out[item * HEAD4 + i] = acc[i];
            }
        }
        if (lane == 0u) {
            lse[p.first * HEADS + item] = all.x + log(all.y);
        }
    }
}
