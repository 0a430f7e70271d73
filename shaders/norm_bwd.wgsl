// Gradient of RMSNorm to its input: dx = rstd (dy w - xh mean(dy w xh)), xh = x rstd; added to dx when ADD.
struct Params {
    rows: u32,
    cols: u32, // units per row
    first: u32, // row of the whole tensor that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dy: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read> x: array<E>; // [rows, cols]
@group(0) @binding(2) var<storage, read> w: array<E>; // [1, cols]
@group(0) @binding(3) var<storage, read> rstd: array<f32>; // [all rows, 1]
@group(0) @binding(4) var<storage, read_write> dx: array<E>; // [rows, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let live = row < p.rows;
    let base = select(0u, row * p.cols, live);
    let r = rstd[p.first + select(0u, row, live)];
    var acc = E(0.0);
    for (var c = lane; c < p.cols; c += LANES) {
        acc += dy[base + c] * w[c] * x[base + c];
    }
    let mean = reduce_add(total(acc), lid) * r / f32(p.cols * UNIT);
    if (live) {
        for (var c = lane; c < p.cols; c += LANES) {
            let g = r * (dy[base + c] * w[c] - x[base + c] * r * mean);
            if (ADD != 0u) {
                dx[base + c] += g;
            } else {
                dx[base + c] = g;
            }
        }
    }
}
