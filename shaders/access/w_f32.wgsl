alias Packed = vec4<f32>;

@group(0) @binding(0) var<storage, read> w: array<Packed>; // [N, K] f32, K a multiple of 4

fn expand(packed: Packed, again: Packed, k4: u32) -> vec4<f32> {
    return packed;
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
    return w[code_at(row, k4)];
}
