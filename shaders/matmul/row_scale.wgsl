// A power of two for every row that brings its largest magnitude to 2^13 .. 2^14, near the top of what f16 holds.
struct Params {
    rows: u32,
    cols: u32, // units per row
    first: u32, // row of the whole tensor that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<E>; // [rows, cols]
@group(0) @binding(1) var<storage, read_write> scale: array<f32>; // [all rows, 1]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = linear_group(group, groups) * ROWS_PER_GROUP + lid / LANES;
    let lane = lid % LANES;
    let live = row < p.rows;
    let base = select(0u, row * p.cols, live);
    var top = E(0.0);
    for (var c = lane; c < p.cols; c += LANES) {
        top = max(top, abs(x[base + c]));
    }
    let exponent = (bitcast<u32>(reduce_max(largest(top), lid)) >> 23u) & 255u;
    if (live && lane == 0u) {
        // 2^(13 - exponent); a row of zeros has nothing to scale.
        let biased = clamp(267u - exponent, 27u, 227u);
        scale[p.first + row] = bitcast<f32>(select(biased, 127u, exponent == 0u) << 23u);
    }
}
