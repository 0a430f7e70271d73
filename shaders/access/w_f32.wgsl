alias Packed = vec4<f32>;

@group(0) @binding(0) var<storage, read> w: array<Packed>; // [N, K] f32, K a multiple of 4

fn expand(packed: Packed) -> vec4<f32> {
    return packed;
}

// Elements 4*k4 .. 4*k4+3 of a row.
fn w4(row: u32, k4: u32) -> vec4<f32> {
    return w[row * w_stride4() + k4];
}
