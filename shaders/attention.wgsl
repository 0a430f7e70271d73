// Softmax attention with grouped heads by the online softmax of Milakov & Gimelshein (2018).
// LANES invocations share the work item of ROWS query rows and one head; keys and values are loaded once per item. The
// arithmetic of a row does not depend on its companions: keys are taken in pairs counted from the row's first
// key, pair t by lane t % LANES, lanes are merged in order, and pairs that a row does not see leave it as it is.
struct Params {
    rows: u32, // query rows in the bindings
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
    let head = slot % HEADS;
    let kv_head = head / (HEADS / KV_HEADS);
    let tile = (slot / HEADS) * ROWS;
    let last = p.rows - 1u; // rows past the end repeat it and are not stored

    var query: array<vec4<f32>, N4>;
    var acc: array<vec4<f32>, N4>;
    var start: array<u32, ROWS>;
    var len: array<u32, ROWS>;
    var top: array<f32, ROWS>;
    var sum: array<f32, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let row = min(tile + r, last);
        start[r] = kstart[p.first + row];
        len[r] = klen[p.first + row];
        top[r] = LOWEST;
        sum[r] = 0.0;
        for (var i = 0u; i < HEAD4; i++) {
            query[r * HEAD4 + i] = q[(row * HEADS + head) * HEAD4 + i] * p.scale;
            acc[r * HEAD4 + i] = vec4(0.0);
        }
    }

    // Runs of rows that see the same sequence: begin .. end.
    var begin = 0u;
    while (begin < ROWS) {
        let origin = kstart[p.first + min(tile + begin, last)];
        var end = ROWS;
        var most = 0u;
        for (var r = 0u; r < ROWS; r++) {
            if (r > begin && r < end && start[r] != origin) {
                end = r;
            }
            if (r >= begin && r < end) {
                most = max(most, len[r]);
            }
        }
        for (var t = lane * 2u; t < most; t += LANES * 2u) {
            let key = ((vec2(origin) + min(vec2(t, t + 1u), vec2(most - 1u))) * KV_HEADS + kv_head) * HEAD4;
            var e: array<vec2<f32>, ROWS>; // scores, then weights
            var fade: array<f32, ROWS>;
            var seen: array<bool, ROWS>;
            for (var r = 0u; r < ROWS; r++) {
                e[r] = vec2(0.0);
            }
            for (var i = 0u; i < HEAD4; i++) {
                let k0 = k[key.x + i];
                let k1 = k[key.y + i];
                for (var r = 0u; r < ROWS; r++) {
                    let qi = query[r * HEAD4 + i];
                    e[r] += vec2(dot(qi, k0), dot(qi, k1));
                }
            }
            for (var r = 0u; r < ROWS; r++) {
                seen[r] = r >= begin && r < end && t < len[r];
                let visible = vec2(t, t + 1u) < vec2(select(0u, len[r], seen[r]));
                let s = select(vec2(LOWEST), e[r], visible);
                let high = max(top[r], max(s.x, s.y));
                fade[r] = select(1.0, exp(top[r] - high), seen[r]);
                e[r] = select(vec2(0.0), exp(s - high), visible);
                top[r] = high;
                sum[r] = sum[r] * fade[r] + (e[r].x + e[r].y);
            }
            for (var i = 0u; i < HEAD4; i++) {
                let v0 = v[key.x + i];
                let v1 = v[key.y + i];
                for (var r = 0u; r < ROWS; r++) {
                    acc[r * HEAD4 + i] = acc[r * HEAD4 + i] * fade[r] + (e[r].x * v0 + e[r].y * v1);
                }
            }
        }
        begin = end;
    }

    for (var r = 0u; r < ROWS; r++) {
        let all = merge_softmax(top[r], sum[r], lid);
        let weight = exp(top[r] - all.x) / select(1.0, all.y, all.y > 0.0);
        for (var i = 0u; i < HEAD4; i++) {
            acc[r * HEAD4 + i] *= weight;
        }
        if (tile + r < p.rows && lane == 0u) {
            lse[(p.first + tile + r) * HEADS + head] = all.x + log(all.y);
        }
    }
    merge_sum(&acc, lid);
    for (var r = 0u; r < ROWS; r++) {
        for (var i = 0u; i < HEAD4; i++) {
            if (tile + r < p.rows && (r * HEAD4 + i) % LANES == lane) {
                out[((tile + r) * HEADS + head) * HEAD4 + i] = acc[r * HEAD4 + i];
            }
        }
    }
}
