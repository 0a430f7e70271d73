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

fn w_stride4() -> u32 {
    return p.depth4;
}

fn out_rows() -> u32 {
    return p.rows;
}

fn out_quads() -> u32 {
    return (p.cols + 3u) / 4u;
}

fn depth_first(slice: u32) -> u32 {
    return 0u;
}

fn depth_end(slice: u32) -> u32 {
    return p.depth4;
}

fn a4(row: u32, i: u32) -> vec4<f32> {
    return x[min(row, p.rows - 1u) * p.depth4 + i];
}

fn b44(q: u32, i: u32) -> mat4x4<f32> {
    let n = q * 4u;
    let last = p.cols - 1u;
    return transpose(mat4x4<f32>(w4(n, i), w4(min(n + 1u, last), i), w4(min(n + 2u, last), i), w4(min(n + 3u, last), i)));
}

fn start(row: u32, q: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn bias_of(n: u32) -> f32 {
    return select(0.0, bias[p.y_offset + min(n, p.cols - 1u)], p.has_bias != 0u);
}

fn epilogue(q: u32) -> vec4<f32> {
    let n = q * 4u;
    return vec4<f32>(bias_of(n), bias_of(n + 1u), bias_of(n + 2u), bias_of(n + 3u));
}

fn store(slice: u32, row: u32, q: u32, value: vec4<f32>) {
    let n = q * 4u;
    let to = row * p.y_stride + p.y_offset + n;
    y[to] = value.x;
    if (n + 1u < p.cols) {
        y[to + 1u] = value.y;
    }
    if (n + 2u < p.cols) {
        y[to + 2u] = value.z;
    }
    if (n + 3u < p.cols) {
        y[to + 3u] = value.w;
    }
}
