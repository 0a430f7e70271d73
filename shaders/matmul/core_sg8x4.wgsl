// Core for few rows on software adapters with subgroups of at least 8 lanes: a workgroup of 8 lanes makes 8 rows by 32
// columns, a lane 8 rows by 4 columns; each lane loads one row of the left operand and broadcasts it.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = group.y * 8u;
    let quad = group.x * 8u + lane;
    let q = min(quad, out_quads() - 1u);
    var s0 = start(row, q);
    var s1 = start(row + 1u, q);
    var s2 = start(row + 2u, q);
    var s3 = start(row + 3u, q);
    var s4 = start(row + 4u, q);
    var s5 = start(row + 5u, q);
    var s6 = start(row + 6u, q);
    var s7 = start(row + 7u, q);
    let end = depth_end(group.z);
    for (var i = depth_first(group.z); i < end; i++) {
        let a = a4(row + lane, i);
        let b = b44(q, i);
        s0 = accumulate(subgroupBroadcast(a, 0u), b, s0);
        s1 = accumulate(subgroupBroadcast(a, 1u), b, s1);
        s2 = accumulate(subgroupBroadcast(a, 2u), b, s2);
        s3 = accumulate(subgroupBroadcast(a, 3u), b, s3);
        s4 = accumulate(subgroupBroadcast(a, 4u), b, s4);
        s5 = accumulate(subgroupBroadcast(a, 5u), b, s5);
        s6 = accumulate(subgroupBroadcast(a, 6u), b, s6);
        s7 = accumulate(subgroupBroadcast(a, 7u), b, s7);
    }
    var sums = array<vec4<f32>, 8>(
        s0, s1, s2, s3, s4, s5, s6, s7,
    );
    let extra = epilogue(q);
    for (var r = 0u; r < 8u; r++) {
        if (row + r < out_rows() && quad < out_quads()) {
            store(group.z, row + r, quad, sums[r] + extra);
        }
    }
}
