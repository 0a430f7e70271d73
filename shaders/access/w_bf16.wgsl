alias Packed = vec2<u32>;

@group(0) @binding(0) var<storage, read> w: array<Packed>; // [N, K] bf16, two to a u32, the even one low; K a multiple of 4

// Exactly: a bf16 is the upper half of an f32.
fn expand(packed: Packed, again: Packed, k4: u32) -> vec4<f32> {
    return bitcast<vec4<f32>>(vec4<u32>(packed.x << 16u, packed.x & 0xffff0000u, packed.y << 16u, packed.y & 0xffff0000u));
}

// What other formats need besides the codes is the same element here, and not looked at.
fn code_at(row: u32, k4: u32) -> u32 {
    return row * w_stride4() + k4;
}

fn scale_at(row: u32, k4: u32) -> u32 {
    return code_at(row, k4);
}

// Elements 4*k4 .. 4*k4+3 of a row.
fn w4(row: u32, k4: u32) -> vec4<f32> {
    let packed = w[code_at(row, k4)];
    return expand(packed, packed, k4);
}
