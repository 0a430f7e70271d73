// dst (+)= part[0] + part[1] + ... in that order, four elements per invocation.

struct Params {
    count4: u32, // vec4s of dst = vec4s of a slice
    slices: u32,
    add: u32, // 1: the sums start from dst
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> part: array<vec4<f32>>; // [S, count4] f32x4
@group(0) @binding(1) var<storage, read_write> dst: array<vec4<f32>>; // [count4] f32x4

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let at = linear_group(group, groups) * 256u + lane;
    if (at < p.count4) {
        var sum = select(vec4<f32>(0.0), dst[at], p.add != 0u);
        for (var s = 0u; s < p.slices; s++) {
            sum += part[s * p.count4 + at];
        }
        dst[at] = sum;
    }
}
