// What the backward pass needs of each (query row, head): lse and delta = dout . out (Dao 2023).
struct Params {
    rows: u32, // query rows in the bindings
    scale: f32, // of the other passes
    first: u32, // query row of the batch that row 0 of the bindings is
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dout: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(1) var<storage, read> out: array<vec4<f32>>; // [rows, HEADS, HEAD4]
@group(0) @binding(2) var<storage, read> lse: array<f32>; // [all rows, HEADS]
@group(0) @binding(3) var<storage, read_write> stat: array<vec2<f32>>; // [all rows, HEADS]: lse, delta

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lid: u32) {
    let item = linear_group(group, groups) * WG + lid;
    if (item < p.rows * HEADS) {
        var delta = 0.0;
        for (var i = 0u; i < HEAD4; i++) {
            delta += dot(dout[item * HEAD4 + i], out[item * HEAD4 + i]);
        }
        let at = p.first * HEADS + item;
        stat[at] = vec2(lse[at], delta);
    }
}
