// dk and dv: dv = sum p dout, dk = scale sum ds q over the query rows that see the key and the heads of its
// group, in that order. LANES invocations share the work item of ROWS key rows and one key/value head; the t-th (query row,
// head) pair of an item goes to lane t % LANES.
struct Params {
    rows: u32, // key rows in the bindings
    scale: f32,
    first: u32, // key row of the plan that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dout: array<vec4<f32>>; // [all rows, HEADS, HEAD4]
@group(0) @binding(1) var<storage, read> q: array<vec4<f32>>; // [all rows, HEADS, HEAD4]
@group(0) @binding(2) var<storage, read> k: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(3) var<storage, read> v: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(4) var<storage, read> stat: array<vec2<f32>>; // [all rows, HEADS]: lse, delta
@group(0) @binding(5) var<storage, read> qrange: array<vec2<u32>>; // [all key rows]: first query row that sees the key, one past the last
@group(0) @binding(6) var<storage, read_write> dk: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]
@group(0) @binding(7) var<storage, read_write> dv: array<vec4<f32>>; // [rows, KV_HEADS, HEAD4]

const GROUP: u32 = HEADS / KV_HEADS;

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let slot = linear_group(group, groups) * (WG / LANES) + lid / LANES;
    let lane = lid % LANES;
    let kv_head = slot % KV_HEADS;
    let tile = (slot / KV_HEADS) * ROWS;
    let last = p.rows - 1u; // rows past the end repeat it and are not stored

    var key: array<vec4<f32>, N4>;
    var value: array<vec4<f32>, N4>;
    var dkey: array<vec4<f32>, N4>;
    var dvalue: array<vec4<f32>, N4>;
    var range: array<vec2<u32>, ROWS>;
    for (var r = 0u; r < ROWS; r++) {
        let row = min(tile + r, last);
        range[r] = qrange[p.first + row];
        for (var i = 0u; i < HEAD4; i++) {
            let at = (row * KV_HEADS + kv_head) * HEAD4 + i;
            key[r * HEAD4 + i] = k[at] * p.scale;
            value[r * HEAD4 + i] = v[at];
            dkey[r * HEAD4 + i] = vec4(0.0);
            dvalue[r * HEAD4 + i] = vec4(0.0);
        }
    }

    // Runs of keys of one sequence: begin .. end.
    var begin = 0u;
    while (begin < ROWS) {
        let queries = qrange[p.first + min(tile + begin, last)];
        var end = ROWS;
        for (var r = 0u; r < ROWS; r++) {
            if (r > begin && r < end && range[r].y != queries.y) {
                end = r;
            }
        }
        let pairs = (queries.y - min(queries.x, queries.y)) * GROUP;
        for (var t = lane; t < pairs; t += LANES) {
            let row = queries.x + t / GROUP;
            let at = row * HEADS + kv_head * GROUP + t % GROUP;
            let state = stat[at];
            var query: array<vec4<f32>, HEAD4>;
            var gout: array<vec4<f32>, HEAD4>;
            var prob: array<f32, ROWS>; // scores, then probabilities
            var ds: array<f32, ROWS>;
            for (var r = 0u; r < ROWS; r++) {
                prob[r] = 0.0;
                ds[r] = 0.0;
            }
            for (var i = 0u; i < HEAD4; i++) {
                let qi = q[at * HEAD4 + i];
                let gi = dout[at * HEAD4 + i];
                query[i] = qi;
                gout[i] = gi;
                for (var r = 0u; r < ROWS; r++) {
                    prob[r] += dot(qi, key[r * HEAD4 + i]);
                    ds[r] += dot(gi, value[r * HEAD4 + i]);
                }
            }
            for (var r = 0u; r < ROWS; r++) {
                let seen = r >= begin && r < end && range[r].x <= row;
                prob[r] = select(0.0, exp(prob[r] - state.x), seen);
                ds[r] = prob[r] * (ds[r] - state.y);
            }
            for (var i = 0u; i < HEAD4; i++) {
                for (var r = 0u; r < ROWS; r++) {
                    dkey[r * HEAD4 + i] += ds[r] * query[i];
                    dvalue[r * HEAD4 + i] += prob[r] * gout[i];
                }
            }
        }
        begin = end;
    }

    merge_sum(&dkey, lid);
    merge_sum(&dvalue, lid);
    for (var r = 0u; r < ROWS; r++) {
        for (var i = 0u; i < HEAD4; i++) {
            if (tile + r < p.rows && (r * HEAD4 + i) % LANES == lane) {
                let at = ((tile + r) * KV_HEADS + kv_head) * HEAD4 + i;
                dk[at] = dkey[r * HEAD4 + i] * p.scale;
                dv[at] = dvalue[r * HEAD4 + i];
            }
        }
    }
}
