// dq: p = exp(scale q.k - lse), ds = p (dout.v - delta), dq = scale sum_k ds k.
// LANES invocations share the work item of ROWS query rows and one head; key j of a row goes to lane j % LANES.
struct Params {
    rows: u32, // query rows in the bindings
    scale: f32,
    first: u32, // query row of the batch that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dout: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // [all rows, KV_HEADS, HEAD4]
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>; // [all rows, KV_HEADS, HEAD4]
@group(0) @binding(4) var<storage, read> stat: array<vec2<f32>>; // [all rows, HEADS]: lse, delta
@group(0) @binding(5) var<storage, read> kstart: array<u32>; // [all rows]
@group(0) @binding(6) var<storage, read> klen: array<u32>; // [all rows]
@group(0) @binding(7) var<storage, read_write> dq: array<vec4<f32>>; // [rows, HEADS, HEAD4]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let slot = linear_group(group, groups) * (WG / LANES) + lid / LANES;
    let lane = lid % LANES;
    let head = slot % HEADS;
    let kv_head = head / (HEADS / KV_HEADS);
    let tile = (slot / HEADS) * ROWS;
    let last = p.rows - 1u; // rows past the end repeat it and are not stored

    var query: array<vec4<f32>, N4>;
    var gout: array<vec4<f32>, N4>;
    var acc: array<vec4<f32>, N4>;
    var start: array<u32, ROWS>;
    var len: array<u32, ROWS>;
    var state: array<vec2<f32>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let row = min(tile + r, last);
        start[r] = kstart[p.first + row];
        len[r] = klen[p.first + row];
        state[r] = stat[(p.first + row) * HEADS + head];
        for (var i = 0u; i < HEAD4; i++) {
            let at = (row * HEADS + head) * HEAD4 + i;
            query[r * HEAD4 + i] = q[at] * p.scale;
            gout[r * HEAD4 + i] = dout[at];
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
        for (var j = lane; j < most; j += LANES) {
            let at = ((origin + j) * KV_HEADS + kv_head) * HEAD4;
            var key: array<vec4<f32>, HEAD4>;
            var s: array<f32, ROWS>; // scores, then their gradients
            var dp: array<f32, ROWS>;
            for (var r = 0u; r < ROWS; r++) {
                s[r] = 0.0;
                dp[r] = 0.0;
            }
            for (var i = 0u; i < HEAD4; i++) {
                let ki = k[at + i];
                let vi = v[at + i];
                key[i] = ki;
                for (var r = 0u; r < ROWS; r++) {
                    s[r] += dot(query[r * HEAD4 + i], ki);
                    dp[r] += dot(gout[r * HEAD4 + i], vi);
                }
            }
            for (var r = 0u; r < ROWS; r++) {
                let seen = r >= begin && r < end && j < len[r];
                s[r] = select(0.0, exp(s[r] - state[r].x) * (dp[r] - state[r].y), seen);
            }
            for (var i = 0u; i < HEAD4; i++) {
                for (var r = 0u; r < ROWS; r++) {
                    acc[r * HEAD4 + i] += s[r] * key[i];
                }
            }
        }
        begin = end;
    }

    merge_sum(&acc, lid);
    for (var r = 0u; r < ROWS; r++) {
        for (var i = 0u; i < HEAD4; i++) {
            if (tile + r < p.rows && (r * HEAD4 + i) % LANES == lane) {
                dq[((tile + r) * HEADS + head) * HEAD4 + i] = acc[r * HEAD4 + i] * p.scale;
            }
        }
    }
}
