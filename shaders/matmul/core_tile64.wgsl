// Core for GPUs: a workgroup of 256 makes 64 rows by 64 columns, an invocation 4 by 4. Tiles of both operands, 32 steps of
// the shared dimension long, pass through workgroup memory with the shared dimension outermost, so that a step reads one
// vec4 over rows and one over columns for 16 multiply-adds. Needs the constants A_ALONG and B_ALONG: 1 where
// consecutive memory of the operand runs along the shared dimension, so that neighbouring invocations read neighbours.

// [32 steps][16 quads]: quad q of step s is at s*16 + (q ^ s/4), which spreads rows and columns over the memory banks
var<workgroup> tile_a: array<vec4<f32>, 512>;
var<workgroup> tile_b: array<vec4<f32>, 512>;

fn slot(step: u32, quad: u32) -> u32 {
    return step * 16u + (quad ^ (step / 4u));
}

// Element `index` of 0..128 of a tile: which quad of rows or columns (0..16) and which four steps (0..8) it is.
fn block(index: u32, along: u32) -> vec2<u32> {
    return select(vec2<u32>(index % 16u, index / 16u), vec2<u32>(index / 8u, index % 8u), along == 1u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile_row = group.y * 16u;
    let tile_quad = group.x * 16u;
    let end = depth_end(group.z);

    let r = lane / 16u;
    let c = lane % 16u;
    let row = (tile_row + r) * 4u;
    let quad = tile_quad + c;
    let q = min(quad, out_quads() - 1u);
    var s0 = start(row, q);
    var s1 = start(row + 1u, q);
    var s2 = start(row + 2u, q);
    var s3 = start(row + 3u, q);

    for (var first = depth_first(group.z); first < end; first += 8u) {
        if (lane < 128u) {
            let at = block(lane, A_ALONG);
            if (first + at.y < end) {
                let a = transpose(a44(tile_row + at.x, first + at.y));
                for (var j = 0u; j < 4u; j++) {
                    tile_a[slot(at.y * 4u + j, at.x)] = a[j];
                }
            }
        } else {
            let at = block(lane - 128u, B_ALONG);
            if (first + at.y < end) {
                let b = b44(min(tile_quad + at.x, out_quads() - 1u), first + at.y);
                for (var j = 0u; j < 4u; j++) {
                    tile_b[slot(at.y * 4u + j, at.x)] = b[j];
                }
            }
        }
        workgroupBarrier();
        let steps = min(8u, end - first) * 4u;
        for (var step = 0u; step < steps; step++) {
            let a = tile_a[slot(step, r)];
            let b = tile_b[slot(step, c)];
            s0 = fma(vec4<f32>(a.x), b, s0);
            s1 = fma(vec4<f32>(a.y), b, s1);
            s2 = fma(vec4<f32>(a.z), b, s2);
            s3 = fma(vec4<f32>(a.w), b, s3);
        }
        workgroupBarrier();
    }

    let extra = epilogue(q);
    if (quad < out_quads()) {
        if (row < out_rows()) {
            store(group.z, row, quad, s0 + extra);
        }
        if (row + 1u < out_rows()) {
            store(group.z, row + 1u, quad, s1 + extra);
        }
        if (row + 2u < out_rows()) {
            store(group.z, row + 2u, quad, s2 + extra);
        }
        if (row + 3u < out_rows()) {
            store(group.z, row + 3u, quad, s3 + extra);
        }
    }
}
