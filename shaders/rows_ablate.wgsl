// x[i, :] -= (x[i, :] . d) d.
struct Params {
    rows: u32,
    cols: u32, // units per row
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> x: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read> d: array<E>; // [1, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let live = row < p.rows;
    let base = select(0u, row * p.cols, live);
    var acc = E(0.0);
    for (var c = lane; c < p.cols; c += LANES) {
        acc += x[base + c] * d[c];
    }
    let along = reduce_add(total(acc), lid);
    if (live) {
        for (var c = lane; c < p.cols; c += LANES) {
            x[base + c] -= along * d[c];
        }
    }
}
