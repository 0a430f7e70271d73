// Core for one row on software adapters: an invocation makes 4 columns, so every load is of weights that are used.

@compute @workgroup_size(32)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let quad = group.x * 32u + lane;
    let q = min(quad, out_quads() - 1u);
    var sum = start(0u, q);
    let end = depth_end(group.z);
    for (var i = depth_first(group.z); i < end; i++) {
        sum = accumulate(a4(0u, i), b44(q, i), sum);
    }
    if (quad < out_quads()) {
        store(group.z, 0u, quad, sum + epilogue(q));
    }
}
