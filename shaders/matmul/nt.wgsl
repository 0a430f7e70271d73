// Operands of y[M, N] = x[M, K] w[N, K]^T (+ bias) for any N, for the cores that walk over K.

struct Params {
    rows: u32, // rows of x and y in this window
    cols: u32, // rows of w in this window = columns of y that it fills
    depth4: u32, // vec4s per row of x and w
    y_stride: u32, // columns of y
    y_offset: u32, // first column of y that this window fills
    has_bias: u32,
}

var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [M, K] f32
@group(0) @binding(2) var<storage, read> bias: array<f32>; // [1, N] f32; anything when has_bias is 0
@group(0) @binding(3) var<storage, read_write> y: array<f32>; // [M, N] f32

fn column4(n: u32, i: u32) -> vec4<f32> {
    return w4(min(n, p.cols - 1u), i);
}

fn bias_of(n: u32) -> f32 {
    return select(0.0, bias[p.y_offset + min(n, p.cols - 1u)], p.has_bias != 0u);
}

fn y_at(row: u32) -> u32 {
    return row * p.y_stride + p.y_offset;
}
