// y[i, :] = x[rows[i], :] for the source rows first .. first + count that are bound; other rows are left alone.
struct Params {
    n: u32, // units of y
    cols: u32, // units per row
    first: u32, // row of the table at the start of the binding
    count: u32, // rows of the table in the binding
    out: u32, // row of the output at the start of its binding
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> x: array<E>; // [count, cols]
@group(0) @binding(1) var<storage, read> rows: array<u32>; // [all rows of the output]
@group(0) @binding(2) var<storage, read_write> y: array<E>; // [n / cols, cols]

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let source = rows[p.out + i / p.cols] - p.first; // wraps to a large number below the window
        if (source < p.count) {
            y[i] = x[source * p.cols + i % p.cols];
        }
    }
}
