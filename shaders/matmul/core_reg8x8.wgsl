// Core without subgroups and without workgroup memory, for software adapters: an invocation makes 8 rows by 8 columns in
// registers.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let row = group.y * 8u;
    let quad = group.x * 16u + lane * 2u;
    let q0 = min(quad, out_quads() - 1u);
    let q1 = min(quad + 1u, out_quads() - 1u);
    var s0 = start(row, q0);
    var t0 = start(row, q1);
    var s1 = start(row + 1u, q0);
    var t1 = start(row + 1u, q1);
    var s2 = start(row + 2u, q0);
    var t2 = start(row + 2u, q1);
    var s3 = start(row + 3u, q0);
    var t3 = start(row + 3u, q1);
    var s4 = start(row + 4u, q0);
    var t4 = start(row + 4u, q1);
    var s5 = start(row + 5u, q0);
    var t5 = start(row + 5u, q1);
    var s6 = start(row + 6u, q0);
    var t6 = start(row + 6u, q1);
    var s7 = start(row + 7u, q0);
    var t7 = start(row + 7u, q1);
    let end = depth_end(group.z);
    for (var i = depth_first(group.z); i < end; i++) {
        let a0 = a44(row / 4u, i);
        let a1 = a44(row / 4u + 1u, i);
        let b0 = b44(q0, i);
        let b1 = b44(q1, i);
        s0 = accumulate(a0[0], b0, s0);
        t0 = accumulate(a0[0], b1, t0);
        s1 = accumulate(a0[1], b0, s1);
        t1 = accumulate(a0[1], b1, t1);
        s2 = accumulate(a0[2], b0, s2);
        t2 = accumulate(a0[2], b1, t2);
        s3 = accumulate(a0[3], b0, s3);
        t3 = accumulate(a0[3], b1, t3);
        s4 = accumulate(a1[0], b0, s4);
        t4 = accumulate(a1[0], b1, t4);
        s5 = accumulate(a1[1], b0, s5);
        t5 = accumulate(a1[1], b1, t5);
        s6 = accumulate(a1[2], b0, s6);
        t6 = accumulate(a1[2], b1, t6);
        s7 = accumulate(a1[3], b0, s7);
        t7 = accumulate(a1[3], b1, t7);
    }
    var sums = array<vec4<f32>, 16>(s0, t0, s1, t1, s2, t2, s3, t3, s4, t4, s5, t5, s6, t6, s7, t7);
    let extra = array<vec4<f32>, 2>(epilogue(q0), epilogue(q1));
    for (var r = 0u; r < 8u; r++) {
        if (row + r < out_rows() && quad < out_quads()) {
            store(group.z, row + r, quad, sums[2u * r] + extra[0]);
        }
        if (row + r < out_rows() && quad + 1u < out_quads()) {
            store(group.z, row + r, quad + 1u, sums[2u * r + 1u] + extra[1]);
        }
    }
}
