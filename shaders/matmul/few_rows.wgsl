// The loop of the cores for few rows: tiles are 64 steps of the shared dimension long; two are on their way while one is multiplied.
// Needs the constants WG, COLS (columns of a workgroup) and ACROSS (invocations of a row); of the core: Sum, Ahead, bring, settle,
// more, put.

fn multiply(sum: Sum, r: u32, c: u32, quads: u32) -> Sum {
    var s = sum;
    if (quads >= 16u) {
        for (var k = 0u; k < 16u; k++) {
            s = more(s, r, c, k);
        }
    } else {
        for (var k = 0u; k < quads; k++) {
            s = more(s, r, c, k);
        }
    }
    return s;
}

@compute @workgroup_size(WG)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let end = p.depth4;
    let i = lane % 16u;
    let stage = lane / 16u;
    let from_row = group.y * 16u + stage;
    let from_col = group.x * COLS + stage;
    let r = lane / ACROSS;
    let c = lane % ACROSS;

    var sum: Sum;
    var even = bring(from_row, from_col, i);
    var odd = bring(from_row, from_col, i + 16u);
    for (var first = 0u; first < end; first += 32u) {
        settle(even, stage, i);
        workgroupBarrier();
        even = bring(from_row, from_col, first + 32u + i);
        sum = multiply(sum, r, c, end - first);
        workgroupBarrier();
        if (first + 16u < end) {
            settle(odd, stage, i);
            workgroupBarrier();
            odd = bring(from_row, from_col, first + 48u + i);
            sum = multiply(sum, r, c, end - first - 16u);
            workgroupBarrier();
        }
    }
    put(group.y * 16u + r, group.x * COLS + c, sum);
}
