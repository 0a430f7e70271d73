// Repetition penalty (Keskar et al. 2019): z > 0 ? z / penalty : z * penalty for the ids seen in each row.
struct Params {
    rows: u32,
    cols: u32, // vocabulary
    penalty: f32,
    first: u32, // row of offsets that row 0 of the logits is
    entries: u32, // of `seen`
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> z: array<f32>; // [rows, cols]
@group(0) @binding(1) var<storage, read> seen: array<u32>; // [entries], distinct within a row
@group(0) @binding(2) var<storage, read> offsets: array<u32>; // [all rows + 1]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let row = linear_group(group, groups);
    if (row < p.rows) {
        for (var s = offsets[p.first + row] + lid; s < min(offsets[p.first + row + 1u], p.entries); s += WG) {
            if (seen[s] < p.cols) {
                let at = row * p.cols + seen[s];
                let x = z[at];
                z[at] = select(x * p.penalty, x / p.penalty, x > 0.0);
            }
        }
    }
}
