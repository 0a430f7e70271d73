// dq of self-attention: p = exp(scale q.k - lse), ds = p (dout.v - delta), dq = scale sum_k ds k.
// LANES invocations share one (query row, head): key j of the row goes to lane j % LANES.
struct Params {
    items: u32, // rows * HEADS
    scale: f32,
    first: u32, // query row of the batch that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dout: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(4) var<storage, read> stat: array<vec2<f32>>; // [all rows, HEADS]: lse, delta
@group(0) @binding(5) var<storage, read> kstart: array<u32>; // [all rows]
@group(0) @binding(6) var<storage, read> klen: array<u32>; // [all rows]
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>; // [rows, HEADS, HEAD4]

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
    let state = stat[p.first * HEADS + item];

    var query: array<vec4<f32>, HEAD4>;
    var gout: array<vec4<f32>, HEAD4>;
    var acc: array<vec4<f32>, HEAD4>;
    for (var i = 0u; i < HEAD4; i++) {
        query[i] = q[item * HEAD4 + i] * p.scale;
        gout[i] = dout[item * HEAD4 + i];
        acc[i] = vec4(0.0);
    }
    for (var j = lane; j < len; j += LANES) {
        let at = ((start + j) * KV_HEADS + kv_head) * HEAD4;
        var key: array<vec4<f32>, HEAD4>;
        var s = 0.0;
        var dp = 0.0;
        for (var i = 0u; i < HEAD4; i++) {
            key[i] = k[at + i];
            s += dot(query[i], key[i]);
            dp += dot(gout[i], v[at + i]);
        }
        let ds = exp(s - state.x) * (dp - state.y);
        for (var i = 0u; i < HEAD4; i++) {
            acc[i] += ds * key[i];
        }
    }
    merge_sum(&acc, lid);
    if (live) {
        for (var i = 0u; i < HEAD4; i++) {
            if (i % LANES == lane) {
                dq[item * HEAD4 + i] = acc[i] * p.scale;
            }
        }
    }
}
