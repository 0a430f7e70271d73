// Core for GPUs and many rows: a workgroup of 256 makes 128 rows by 128 columns, an invocation 8 by 8 as two quads of rows by two
// quads of columns that lie 64 apart. Tiles of both operands, 16 steps of the shared dimension long, pass through workgroup
// memory; the next ones are read while these are multiplied. Needs the constants A_ALONG and B_ALONG as core_tile64.wgsl does.

// [16 steps][32 quads]: quad q of step s is at s*32 + (q ^ s/4*8), which spreads rows and columns over the memory banks
var<workgroup> tile_a: array<vec4<f32>, 512>;
var<workgroup> tile_b: array<vec4<f32>, 512>;

fn slot(step: u32, quad: u32) -> u32 {
    return step * 32u + (quad ^ (step / 4u * 8u));
}

// Element `index` of 0..128 of a tile: which quad of rows or columns (0..32) and which four steps (0..4) it is.
fn block(index: u32, along: u32) -> vec2<u32> {
    return select(vec2<u32>(index % 32u, index / 32u), vec2<u32>(index / 4u, index % 4u), along == 1u);
}

@compute @workgroup_size(256)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile_row = group.y * 32u;
    let tile_quad = group.x * 32u;
    let end = depth_end(group.z);
    let last = out_quads() - 1u;

    let r = lane / 16u;
    let c = lane % 16u;
    let row_a = (tile_row + r) * 4u;
    let row_b = row_a + 64u;
    let quad_a = tile_quad + c;
    let quad_b = quad_a + 16u;
    let q_a = min(quad_a, last);
    let q_b = min(quad_b, last);

    var s0a = start(row_a, q_a);
    var s0b = start(row_a, q_b);
    var s1a = start(row_a + 1u, q_a);
    var s1b = start(row_a + 1u, q_b);
    var s2a = start(row_a + 2u, q_a);
    var s2b = start(row_a + 2u, q_b);
    var s3a = start(row_a + 3u, q_a);
    var s3b = start(row_a + 3u, q_b);
    var s4a = start(row_b, q_a);
    var s4b = start(row_b, q_b);
    var s5a = start(row_b + 1u, q_a);
    var s5b = start(row_b + 1u, q_b);
    var s6a = start(row_b + 2u, q_a);
    var s6b = start(row_b + 2u, q_b);
    var s7a = start(row_b + 3u, q_a);
    var s7b = start(row_b + 3u, q_b);

    // What this invocation brings in: invocations 0 to 127 the left operand, the others the right one.
    let left = lane < 128u;
    let at = select(block(lane - 128u, B_ALONG), block(lane, A_ALONG), left);
    let from_quad = min(tile_quad + at.x, last);
    var next: mat4x4<f32>;
    let begin = depth_first(group.z);
    if (begin + at.y < end) {
        next = fetch(left, tile_row + at.x, from_quad, begin + at.y);
    }
    for (var first = begin; first < end; first += 4u) {
        for (var j = 0u; j < 4u; j++) {
            let to = slot(at.y * 4u + j, at.x);
            if (left) {
                tile_a[to] = next[j];
            } else {
                tile_b[to] = next[j];
            }
        }
        workgroupBarrier();
        if (first + 4u + at.y < end) {
            next = fetch(left, tile_row + at.x, from_quad, first + 4u + at.y);
        }
        let steps = min(4u, end - first) * 4u;
        for (var step = 0u; step < steps; step++) {
            let a_a = tile_a[slot(step, r)];
            let a_b = tile_a[slot(step, r + 16u)];
            let b_a = tile_b[slot(step, c)];
            let b_b = tile_b[slot(step, c + 16u)];
            s0a = fma(vec4<f32>(a_a.x), b_a, s0a);
            s0b = fma(vec4<f32>(a_a.x), b_b, s0b);
            s1a = fma(vec4<f32>(a_a.y), b_a, s1a);
            s1b = fma(vec4<f32>(a_a.y), b_b, s1b);
            s2a = fma(vec4<f32>(a_a.z), b_a, s2a);
            s2b = fma(vec4<f32>(a_a.z), b_b, s2b);
            s3a = fma(vec4<f32>(a_a.w), b_a, s3a);
            s3b = fma(vec4<f32>(a_a.w), b_b, s3b);
            s4a = fma(vec4<f32>(a_b.x), b_a, s4a);
            s4b = fma(vec4<f32>(a_b.x), b_b, s4b);
            s5a = fma(vec4<f32>(a_b.y), b_a, s5a);
            s5b = fma(vec4<f32>(a_b.y), b_b, s5b);
            s6a = fma(vec4<f32>(a_b.z), b_a, s6a);
            s6b = fma(vec4<f32>(a_b.z), b_b, s6b);
            s7a = fma(vec4<f32>(a_b.w), b_a, s7a);
            s7b = fma(vec4<f32>(a_b.w), b_b, s7b);
        }
        workgroupBarrier();
    }

    let extra_a = epilogue(q_a);
    let extra_b = epilogue(q_b);
    if (quad_a < out_quads()) {
        if (row_a < out_rows()) {
            store(group.z, row_a, quad_a, s0a + extra_a);
        }
        if (row_a + 1u < out_rows()) {
            store(group.z, row_a + 1u, quad_a, s1a + extra_a);
        }
        if (row_a + 2u < out_rows()) {
            store(group.z, row_a + 2u, quad_a, s2a + extra_a);
        }
        if (row_a + 3u < out_rows()) {
            store(group.z, row_a + 3u, quad_a, s3a + extra_a);
        }
        if (row_b < out_rows()) {
            store(group.z, row_b, quad_a, s4a + extra_a);
        }
        if (row_b + 1u < out_rows()) {
            store(group.z, row_b + 1u, quad_a, s5a + extra_a);
        }
        if (row_b + 2u < out_rows()) {
            store(group.z, row_b + 2u, quad_a, s6a + extra_a);
        }
        if (row_b + 3u < out_rows()) {
            store(group.z, row_b + 3u, quad_a, s7a + extra_a);
        }
    }
    if (quad_b < out_quads()) {
        if (row_a < out_rows()) {
            store(group.z, row_a, quad_b, s0b + extra_b);
        }
        if (row_a + 1u < out_rows()) {
            store(group.z, row_a + 1u, quad_b, s1b + extra_b);
        }
        if (row_a + 2u < out_rows()) {
            store(group.z, row_a + 2u, quad_b, s2b + extra_b);
        }
        if (row_a + 3u < out_rows()) {
            store(group.z, row_a + 3u, quad_b, s3b + extra_b);
        }
        if (row_b < out_rows()) {
            store(group.z, row_b, quad_b, s4b + extra_b);
        }
        if (row_b + 1u < out_rows()) {
            store(group.z, row_b + 1u, quad_b, s5b + extra_b);
        }
        if (row_b + 2u < out_rows()) {
            store(group.z, row_b + 2u, quad_b, s6b + extra_b);
        }
        if (row_b + 3u < out_rows()) {
            store(group.z, row_b + 3u, quad_b, s7b + extra_b);
        }
    }
}

// Four steps of four rows of the left operand, or of four columns of the right one: column j holds step j.
fn fetch(left: bool, rows: u32, quad: u32, i: u32) -> mat4x4<f32> {
    if (left) {
        return transpose(a44(rows, i));
    }
    return b44(quad, i);
}
