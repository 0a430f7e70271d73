// The cores. Each walks over the shared dimension four steps at a time and adds the products of every element of the
// result one after the other, in the order of the shared dimension, with one accumulator: all cores give the same bits.
//
// The operand files give them
//   a44(r, i): column j = elements 4i .. 4i+3 of the shared dimension for row 4r+j of the result,
//   b44(q, i): column j = columns 4q .. 4q+3 of the result at element 4i+j of the shared dimension,
//   start(row, q), epilogue(q), store(slice, row, q, value): a vec4 of the result at row `row`, columns 4q .. 4q+3,
//   out_rows(), out_quads(), depth_first(slice), depth_end(slice): rows, columns / 4, shared dimension / 4.

// sum + a.x b[0] + a.y b[1] + a.z b[2] + a.w b[3], in that order
fn accumulate(a: vec4<f32>, b: mat4x4<f32>, sum: vec4<f32>) -> vec4<f32> {
    return fma(vec4<f32>(a.w), b[3], fma(vec4<f32>(a.z), b[2], fma(vec4<f32>(a.y), b[1], fma(vec4<f32>(a.x), b[0], sum))));
}
