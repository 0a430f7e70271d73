// dk and dv of self-attention: dv = sum p dout, dk = scale sum ds q over the query rows that see the key and the heads of its
// group, in that order. LANES invocations share one (key row, key/value head): (row, head) pair t goes to lane t % LANES.
struct Params {
    items: u32, // rows * KV_HEADS
    scale: f32,
    first: u32, // key row of the batch that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dout: array<vec4<f32>>; // [all rows, HEADS, HEAD4]
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [all rows, HEADS, HEAD4]
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(4) var<storage, read> stat: array<vec2<f32>>; // [all rows, HEADS]: lse, delta
@group(0) @binding(5) var<storage, read> qend: array<u32>; // [all rows]
@group(0) @binding(6) var<storage, read_write> dk: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(7) var<storage, read_write> dv: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]

const GROUP: u32 = HEADS / KV_HEADS;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let slot = linear_group(group, groups) * (WG / LANES) + lid / LANES;
    let lane = lid % LANES;
    let live = slot < p.items;
    let item = select(0u, slot, live);
    let row = p.first + item / KV_HEADS;
    let head0 = (item % KV_HEADS) * GROUP;
    let pairs = (qend[row] - row) * GROUP;

    var key: array<vec4<f32>, HEAD4>;
    var value: array<vec4<f32>, HEAD4>;
    var dkey: array<vec4<f32>, HEAD4>;
    var dvalue: array<vec4<f32>, HEAD4>;
    for (var i = 0u; i < HEAD4; i++) {
        key[i] = k[item * HEAD4 + i] * p.scale;
        value[i] = v[item * HEAD4 + i];
        dkey[i] = vec4(0.0);
        dvalue[i] = vec4(0.0);
    }
    for (var t = lane; t < pairs; t += LANES) {
        let at = (row + t / GROUP) * HEADS + head0 + t % GROUP;
        let state = stat[at];
        var query: array<vec4<f32>, HEAD4>;
        var gout: array<vec4<f32>, HEAD4>;
        var s = 0.0;
        var dp = 0.0;
        for (var i = 0u; i < HEAD4; i++) {
            query[i] = q[at * HEAD4 + i];
            gout[i] = dout[at * HEAD4 + i];
            s += dot(query[i], key[i]);
            dp += dot(gout[i], value[i]);
        }
        let prob = exp(s - state.x);
        let ds = prob * (dp - state.y);
        for (var i = 0u; i < HEAD4; i++) {
            dkey[i] += ds * query[i];
            dvalue[i] += prob * gout[i];
        }
    }
    merge_sum(&dkey, lid);
    merge_sum(&dvalue, lid);
    if (live) {
        for (var i = 0u; i < HEAD4; i++) {
            if (i % LANES == lane) {
                dk[item * HEAD4 + i] = dkey[i] * p.scale;
                dv[item * HEAD4 + i] = dvalue[i];
            }
        }
    }
}
