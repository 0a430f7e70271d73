// What every product with rows of weights has alike. The operand file gives `p.rows`, `p.cols` (columns of the result, padding included),
// `p.depth4` (vec4s per row of x and of the weights), x and column4(n, i): elements 4i .. 4i+3 of the weights of column n.

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
    return transpose(mat4x4<f32>(column4(n, i), column4(n + 1u, i), column4(n + 2u, i), column4(n + 3u, i)));
}

fn start(row: u32, q: u32) -> vec4<f32> {
    return vec4<f32>(0.0);
}
