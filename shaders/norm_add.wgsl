// The residual sum s = x + delta and the RMSNorm of s in one pass.
struct Params {
    rows: u32,
    cols: u32, // units per row
    eps: f32,
    first: u32, // row of the whole tensor that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read> delta: array<E>; // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<E>; // [1, cols]
@group(0) @binding(3) var<storage, read_write> s: array<E>; // [rows, cols]
@group(0) @binding(4) var<storage, read_write> y: array<E>; // [rows, cols]
@group(0) @binding(5) var<storage, read_write> rstd: array<f32>; // [all rows, 1]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let live = row < p.rows;
    let base = select(0u, row * p.cols, live);
    var acc = E(0.0);
    for (var c = lane; c < p.cols; c += LANES) {
        let e = x[base + c] + delta[base + c];
        acc += e * e;
        if (live) {
            s[base + c] = e;
        }
    }
    let square = reduce_add(total(acc), lid);
    let r = inverseSqrt(square / f32(p.cols * UNIT) + p.eps);
    if (live) {
        for (var c = lane; c < p.cols; c += LANES) {
            y[base + c] = s[base + c] * r * w[c]; // written above by this same invocation
        }
        if (lane == 0u) {
            rstd[p.first + row] = r;
        }
    }
}
