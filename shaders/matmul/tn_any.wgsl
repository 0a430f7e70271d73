// Operands of dw[N, K] += dy[M, N]^T x[M, K] for any N, for the cores that walk over M.

struct Params {
    rows: u32, // rows of dw in this window
    cols4: u32, // vec4s per row of x and dw
    depth: u32, // rows of dy and x in this window
    dy_stride: u32, // columns of dy
    dy_offset: u32, // column of dy that belongs to the first row of dw in this window
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read> dy: array<f32>; // [M, N] f32
@group(0) @binding(1) var<storage, read> x: array<vec4<f32>>; // [M, K] f32
@group(0) @binding(2) var<storage, read_write> dw: array<vec4<f32>>; // [N, K] f32

// dy[m, 4r .. 4r+3], zeros past the end of M; columns past the end of N are any value.
fn dy4(m: u32, r: u32) -> vec4<f32> {
    let n = min(vec4<u32>(r * 4u) + vec4<u32>(0u, 1u, 2u, 3u), vec4<u32>(p.rows - 1u));
    let at = vec4<u32>(min(m, p.depth - 1u) * p.dy_stride + p.dy_offset) + n;
    return select(vec4<f32>(0.0), vec4<f32>(dy[at.x], dy[at.y], dy[at.z], dy[at.w]), m < p.depth);
}

// Column j holds dy[4i .. 4i+3, 4r+j].
fn a44(r: u32, i: u32) -> mat4x4<f32> {
    let m = i * 4u;
    return transpose(mat4x4<f32>(dy4(m, r), dy4(m + 1u, r), dy4(m + 2u, r), dy4(m + 3u, r)));
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

fn b44(q: u32, i: u32) -> mat4x4<f32> {
    let m = i * 4u;
    let last = p.depth - 1u;
    return mat4x4<f32>(
        x[m * p.cols4 + q],
        x[min(m + 1u, last) * p.cols4 + q],
        x[min(m + 2u, last) * p.cols4 + q],
        x[min(m + 3u, last) * p.cols4 + q],
    );
}

fn start(row: u32, q: u32) -> vec4<f32> {
    return dw[min(row, p.rows - 1u) * p.cols4 + q];
}

fn epilogue(q: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}

fn store(slice: u32, row: u32, q: u32, value: vec4<f32>) {
    dw[row * p.cols4 + q] = value;
}
