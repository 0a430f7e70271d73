// Elementwise operations on flat f32 data, four elements per invocation. `count4` counts vec4s; the last one may
// reach into the padding of the buffer, which is never read as data.

struct Params {
    count4: u32,
    value: f32,
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> dst: array<vec4<f32>>; // [count4] f32x4
@group(0) @binding(1) var<storage, read> src: array<vec4<f32>>; // [count4] f32x4

fn index(group: vec3<u32>, groups: vec3<u32>, lane: u32) -> u32 {
    return linear_group(group, groups) * 256u + lane;
}

@compute @workgroup_size(256)
fn fill(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = index(group, groups, lane);
    if (i < p.count4) {
        dst[i] = vec4<f32>(p.value);
    }
}

@compute @workgroup_size(256)
fn copy(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = index(group, groups, lane);
    if (i < p.count4) {
        dst[i] = src[i];
    }
}

@compute @workgroup_size(256)
fn add(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = index(group, groups, lane);
    if (i < p.count4) {
        dst[i] += src[i];
    }
}

@compute @workgroup_size(256)
fn scale(@builtin(workgroup_id) group: vec3<u32>, @builtin(num_workgroups) groups: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let i = index(group, groups, lane);
    if (i < p.count4) {
        dst[i] *= p.value;
    }
}
