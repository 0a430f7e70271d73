// dst[rows[i], :] = src[i, :], or += when ADD, for the rows first .. first + count that are bound. `rows` are distinct.
struct Params {
    n: u32, // units of src
    cols: u32, // units per row
    first: u32, // row of dst at the start of the binding
    count: u32, // rows of dst in the binding
    source: u32, // row of the source at the start of its binding
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> dst: array<E>; // [count, cols]
@group(0) @binding(1) var<storage, read> src: array<E>; // [n / cols, cols]
@group(0) @binding(2) var<storage, read> rows: array<u32>; // [all rows of the source]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let row = rows[p.source + i / p.cols] - p.first; // wraps to a large number below the window
        if (row < p.count) {
            let at = row * p.cols + i % p.cols;
            if (ADD != 0u) {
                dst[at] += src[i];
            } else {
                dst[at] = src[i];
            }
        }
    }
}
