// Core for GPUs and large results: a workgroup of 256 makes 128 rows by 64 columns, an invocation 8 by 4: two quads of rows that lie 64
// apart by a quad of columns. Tiles of both operands, 16 steps of the shared dimension long, pass through workgroup memory; the next
// ones are read while these are multiplied. Needs the constants A_ALONG and B_ALONG as core_tile64.wgsl does.

// [16 steps][32 quads of rows]: quad q of step s is at s*32 + (q ^ s/4*8), which spreads rows over the memory banks
var<workgroup> tile_a: array<vec4<f32>, 512>;
// [16 steps][16 quads of columns]: at s*16 + (q ^ s/4*4)
var<workgroup> tile_b: array<vec4<f32>, 256>;

// Element `index` of a tile `wide` quads wide: which quad of rows or columns and which four steps (0..4) it is.
fn block(index: u32, wide: u32, along: u32) -> vec2<u32> {
    return select(vec2<u32>(index % wide, index / wide), vec2<u32>(index / 4u, index % 4u), along == 1u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile_row = group.y * 32u;
    let tile_quad = group.x * 16u;
    let end = depth_end(group.z);
    let last = out_quads() - 1u;

    let r = lane / 64u * 4u + lane % 32u / 8u;
    let c = lane / 32u % 2u * 8u + lane % 8u;
    let row_a = (tile_row + r) * 4u;
    let row_b = row_a + 64u;
    let quad = tile_quad + c;
    let q = min(quad, last);

    var s0 = start(row_a, q);
    var s1 = start(row_a + 1u, q);
    var s2 = start(row_a + 2u, q);
    var s3 = start(row_a + 3u, q);
    var s4 = start(row_b, q);
    var s5 = start(row_b + 1u, q);
    var s6 = start(row_b + 2u, q);
    var s7 = start(row_b + 3u, q);

    // What this invocation brings in: 0 to 127 four steps of a quad of rows, 128 to 191 of a quad of columns.
    let left = lane < 128u;
    let busy = lane < 192u;
    let at = select(block(lane - 128u, 16u, B_ALONG), block(lane, 32u, A_ALONG), left);
    let from_quad = min(tile_quad + at.x, last);
    var next: mat4x4<f32>;
    let begin = depth_first(group.z);
    if (busy && begin + at.y < end) {
        next = fetch(left, tile_row + at.x, from_quad, begin + at.y);
    }
    for (var first = begin; first < end; first += 4u) {
        if (left) {
            let to = at.y * 128u + (at.x ^ (at.y * 8u));
            tile_a[to] = next[0];
            tile_a[to + 32u] = next[1];
            tile_a[to + 64u] = next[2];
            tile_a[to + 96u] = next[3];
        } else if (busy) {
            let to = at.y * 64u + (at.x ^ (at.y * 4u));
            tile_b[to] = next[0];
            tile_b[to + 16u] = next[1];
            tile_b[to + 32u] = next[2];
            tile_b[to + 48u] = next[3];
        }
        workgroupBarrier();
        if (busy && first + 4u + at.y < end) {
            next = fetch(left, tile_row + at.x, from_quad, first + 4u + at.y);
        }
        let fours = min(4u, end - first);
        for (var four = 0u; four < fours; four++) {
            let at_a = four * 128u + (r ^ (four * 8u));
            let at_b = four * 128u + ((r + 16u) ^ (four * 8u));
            let at_c = four * 64u + (c ^ (four * 4u));
            let a_a0 = tile_a[at_a];
            let a_b0 = tile_a[at_b];
            let b0 = tile_b[at_c];
            s0 = fma(vec4<f32>(a_a0.x), b0, s0);
            s1 = fma(vec4<f32>(a_a0.y), b0, s1);
            s2 = fma(vec4<f32>(a_a0.z), b0, s2);
            s3 = fma(vec4<f32>(a_a0.w), b0, s3);
            s4 = fma(vec4<f32>(a_b0.x), b0, s4);
            s5 = fma(vec4<f32>(a_b0.y), b0, s5);
            s6 = fma(vec4<f32>(a_b0.z), b0, s6);
            s7 = fma(vec4<f32>(a_b0.w), b0, s7);
            let a_a1 = tile_a[at_a + 32u];
            let a_b1 = tile_a[at_b + 32u];
            let b1 = tile_b[at_c + 16u];
            s0 = fma(vec4<f32>(a_a1.x), b1, s0);
            s1 = fma(vec4<f32>(a_a1.y), b1, s1);
            s2 = fma(vec4<f32>(a_a1.z), b1, s2);
            s3 = fma(vec4<f32>(a_a1.w), b1, s3);
            s4 = fma(vec4<f32>(a_b1.x), b1, s4);
            s5 = fma(vec4<f32>(a_b1.y), b1, s5);
            s6 = fma(vec4<f32>(a_b1.z), b1, s6);
            s7 = fma(vec4<f32>(a_b1.w), b1, s7);
            let a_a2 = tile_a[at_a + 64u];
            let a_b2 = tile_a[at_b + 64u];
            let b2 = tile_b[at_c + 32u];
            s0 = fma(vec4<f32>(a_a2.x), b2, s0);
            s1 = fma(vec4<f32>(a_a2.y), b2, s1);
            s2 = fma(vec4<f32>(a_a2.z), b2, s2);
            s3 = fma(vec4<f32>(a_a2.w), b2, s3);
            s4 = fma(vec4<f32>(a_b2.x), b2, s4);
            s5 = fma(vec4<f32>(a_b2.y), b2, s5);
            s6 = fma(vec4<f32>(a_b2.z), b2, s6);
            s7 = fma(vec4<f32>(a_b2.w), b2, s7);
            let a_a3 = tile_a[at_a + 96u];
            let a_b3 = tile_a[at_b + 96u];
            let b3 = tile_b[at_c + 48u];
            s0 = fma(vec4<f32>(a_a3.x), b3, s0);
            s1 = fma(vec4<f32>(a_a3.y), b3, s1);
            s2 = fma(vec4<f32>(a_a3.z), b3, s2);
            s3 = fma(vec4<f32>(a_a3.w), b3, s3);
            s4 = fma(vec4<f32>(a_b3.x), b3, s4);
            s5 = fma(vec4<f32>(a_b3.y), b3, s5);
            s6 = fma(vec4<f32>(a_b3.z), b3, s6);
            s7 = fma(vec4<f32>(a_b3.w), b3, s7);
        }
        workgroupBarrier();
    }

    let extra = epilogue(q);
    if (quad < out_quads()) {
        if (row_a < out_rows()) {
            store(group.z, row_a, quad, s0 + extra);
        }
        if (row_a + 1u < out_rows()) {
            store(group.z, row_a + 1u, quad, s1 + extra);
        }
        if (row_a + 2u < out_rows()) {
            store(group.z, row_a + 2u, quad, s2 + extra);
        }
        if (row_a + 3u < out_rows()) {
            store(group.z, row_a + 3u, quad, s3 + extra);
        }
        if (row_b < out_rows()) {
            store(group.z, row_b, quad, s4 + extra);
        }
        if (row_b + 1u < out_rows()) {
            store(group.z, row_b + 1u, quad, s5 + extra);
        }
        if (row_b + 2u < out_rows()) {
            store(group.z, row_b + 2u, quad, s6 + extra);
        }
        if (row_b + 3u < out_rows()) {
            store(group.z, row_b + 3u, quad, s7 + extra);
        }
    }
}

// Column j holds step j.
fn fetch(left: bool, rows: u32, quad: u32, i: u32) -> mat4x4<f32> {
    if (left) {
        return transpose(a44(rows, i));
    }
    return b44(quad, i);
}
