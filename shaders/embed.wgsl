// y[i, :] = w[ids[i], :] for the table rows first .. first + count that are bound; other rows of y are left alone.
struct Params {
    n: u32, // vec4s of y
    cols: u32, // vec4s per row
    first: u32, // row of the table at the start of the binding
    count: u32, // rows of the table in the binding
    out: u32, // row of the output at the start of its binding
}

var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> ids: array<u32>; // [all rows of the output]
@group(0) @binding(2) var<storage, read_write> y: array<vec4<f32>>; // [n / cols, cols]

fn w_stride4() -> u32 {
    return p.cols;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let i = linear_group(group, groups) * WG + lid;
    if (i < p.n) {
        let row = ids[p.out + i / p.cols] - p.first; // wraps to a large number below the window
        if (row < p.count) {
            y[i] = w4(row, i % p.cols);
        }
    }
}
