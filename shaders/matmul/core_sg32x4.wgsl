// Core for software adapters with subgroups of at least 8 lanes: a workgroup of 8 lanes makes 32 rows by 32 columns, a
// lane 32 rows by 4 columns. A load costs such an adapter as much as dozens of multiply-adds and is done lane by lane, so
// each lane loads four other rows of the left operand and broadcasts them.

@compute @workgroup_size(8)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(subgroup_invocation_id) lane: u32) {
    let row = group.y * 32u;
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
    var s8 = start(row + 8u, q);
    var s9 = start(row + 9u, q);
    var s10 = start(row + 10u, q);
    var s11 = start(row + 11u, q);
    var s12 = start(row + 12u, q);
    var s13 = start(row + 13u, q);
    var s14 = start(row + 14u, q);
    var s15 = start(row + 15u, q);
    var s16 = start(row + 16u, q);
    var s17 = start(row + 17u, q);
    var s18 = start(row + 18u, q);
    var s19 = start(row + 19u, q);
    var s20 = start(row + 20u, q);
    var s21 = start(row + 21u, q);
    var s22 = start(row + 22u, q);
    var s23 = start(row + 23u, q);
    var s24 = start(row + 24u, q);
    var s25 = start(row + 25u, q);
    var s26 = start(row + 26u, q);
    var s27 = start(row + 27u, q);
    var s28 = start(row + 28u, q);
    var s29 = start(row + 29u, q);
    var s30 = start(row + 30u, q);
    var s31 = start(row + 31u, q);
    let end = depth_end(group.z);
    for (var i = depth_first(group.z); i < end; i++) {
        let a = a44(row / 4u + lane, i);
        let b = b44(q, i);
        s0 = accumulate(subgroupBroadcast(a[0], 0u), b, s0);
        s1 = accumulate(subgroupBroadcast(a[1], 0u), b, s1);
        s2 = accumulate(subgroupBroadcast(a[2], 0u), b, s2);
        s3 = accumulate(subgroupBroadcast(a[3], 0u), b, s3);
        s4 = accumulate(subgroupBroadcast(a[0], 1u), b, s4);
        s5 = accumulate(subgroupBroadcast(a[1], 1u), b, s5);
        s6 = accumulate(subgroupBroadcast(a[2], 1u), b, s6);
        s7 = accumulate(subgroupBroadcast(a[3], 1u), b, s7);
        s8 = accumulate(subgroupBroadcast(a[0], 2u), b, s8);
        s9 = accumulate(subgroupBroadcast(a[1], 2u), b, s9);
        s10 = accumulate(subgroupBroadcast(a[2], 2u), b, s10);
        s11 = accumulate(subgroupBroadcast(a[3], 2u), b, s11);
        s12 = accumulate(subgroupBroadcast(a[0], 3u), b, s12);
        s13 = accumulate(subgroupBroadcast(a[1], 3u), b, s13);
        s14 = accumulate(subgroupBroadcast(a[2], 3u), b, s14);
        s15 = accumulate(subgroupBroadcast(a[3], 3u), b, s15);
        s16 = accumulate(subgroupBroadcast(a[0], 4u), b, s16);
        s17 = accumulate(subgroupBroadcast(a[1], 4u), b, s17);
        s18 = accumulate(subgroupBroadcast(a[2], 4u), b, s18);
        s19 = accumulate(subgroupBroadcast(a[3], 4u), b, s19);
        s20 = accumulate(subgroupBroadcast(a[0], 5u), b, s20);
        s21 = accumulate(subgroupBroadcast(a[1], 5u), b, s21);
        s22 = accumulate(subgroupBroadcast(a[2], 5u), b, s22);
        s23 = accumulate(subgroupBroadcast(a[3], 5u), b, s23);
        s24 = accumulate(subgroupBroadcast(a[0], 6u), b, s24);
        s25 = accumulate(subgroupBroadcast(a[1], 6u), b, s25);
        s26 = accumulate(subgroupBroadcast(a[2], 6u), b, s26);
        s27 = accumulate(subgroupBroadcast(a[3], 6u), b, s27);
        s28 = accumulate(subgroupBroadcast(a[0], 7u), b, s28);
        s29 = accumulate(subgroupBroadcast(a[1], 7u), b, s29);
        s30 = accumulate(subgroupBroadcast(a[2], 7u), b, s30);
        s31 = accumulate(subgroupBroadcast(a[3], 7u), b, s31);
    }
    var sums = array<vec4<f32>, 32>(
        s0, s1, s2, s3, s4, s5, s6, s7, s8, s9, s10, s11, s12, s13, s14, s15,
        s16, s17, s18, s19, s20, s21, s22, s23, s24, s25, s26, s27, s28, s29, s30, s31,
    );
    let extra = epilogue(q);
    for (var r = 0u; r < 32u; r++) {
        if (row + r < out_rows() && quad < out_quads()) {
            store(group.z, row + r, quad, sums[r] + extra);
        }
    }
}
