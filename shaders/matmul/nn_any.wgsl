// Operands of dx[M, K] (+)= dy[M, N] w[N, K] for any N, for the cores that walk over N.

struct Params {
    rows: u32, // rows of dy and dx in this window
    cols4: u32, // vec4s per row of w and dx
    depth: u32, // rows of w in this window
    dy_stride: u32, // columns of dy
    dy_offset: u32, // column of dy that belongs to the window's first row of w
    add: u32, // 1: the sums start from dx
}

var<immediate> p: Params;

@group(0) @binding(1) var<storage, read> dy: array<f32>; // [M, N] f32
@group(0) @binding(2) var<storage, read_write> dx: array<vec4<f32>>; // [M, K] f32

fn w_stride4() -> u32 {
    return p.cols4;
}

fn out_rows() -> u32 {
    return p.rows;
}

fn out_quads() -> u32 {
    return p.cols4;
}

fn depth_first(slice: u32) -> u32 {
    return 0u;
}

fn depth_end(slice: u32) -> u32 {
    return (p.depth + 3u) / 4u;
}

// Zeros past the end of the shared dimension.
fn a4(row: u32, i: u32) -> vec4<f32> {
    let n = vec4<u32>(i * 4u) + vec4<u32>(0u, 1u, 2u, 3u);
    let at = vec4<u32>(min(row, p.rows - 1u) * p.dy_stride + p.dy_offset) + min(n, vec4<u32>(p.depth - 1u));
    let value = vec4<f32>(dy[at.x], dy[at.y], dy[at.z], dy[at.w]);
    return select(vec4<f32>(0.0), value, n < vec4<u32>(p.depth));
}

fn b44(q: u32, i: u32) -> mat4x4<f32> {
    let n = i * 4u;
    let last = p.depth - 1u;
    return mat4x4<f32>(w4(n, q), w4(min(n + 1u, last), q), w4(min(n + 2u, last), q), w4(min(n + 3u, last), q));
}

fn start(row: u32, q: u32) -> vec4<f32> {
    return select(vec4<f32>(0.0), dx[min(row, p.rows - 1u) * p.cols4 + q], p.add != 0u);
}

fn epilogue(q: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn store(slice: u32, row: u32, q: u32, value: vec4<f32>) {
    dx[row * p.cols4 + q] = value;
}
