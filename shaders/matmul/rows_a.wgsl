// Four rows of the left operand where its rows are the rows of the result.

// Column j holds elements 4i .. 4i+3, along the shared dimension, of row 4r+j.
fn a44(r: u32, i: u32) -> mat4x4<f32> {
    let row = r * 4u;
    return mat4x4<f32>(a4(row, i), a4(row + 1u, i), a4(row + 2u, i), a4(row + 3u, i));
}
