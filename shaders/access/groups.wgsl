// Codes and scales of groups of weights along a row (src/ops/quant.rs). Needs the constants PER_WORD4 (vec4s whose codes a word holds) and
// GROUP4 (vec4s that share a scale), and levels(word, k4): the levels of elements 4*k4 .. 4*k4+3 of a row, whose codes are in `word`.

alias Packed = u32;

@group(0) @binding(0) var<storage, read> w: array<Packed>; // [N, words of a row]: codes, bf16 scales, two to a u32, zeros up to four words

fn code_words() -> u32 {
    return (w_stride4() + PER_WORD4 - 1u) / PER_WORD4;
}

fn row_words() -> u32 {
    let scales = (w_stride4() + 2u * GROUP4 - 1u) / (2u * GROUP4);
    return (code_words() + scales + 3u) / 4u * 4u;
}

fn code_at(row: u32, k4: u32) -> u32 {
    return row * row_words() + k4 / PER_WORD4;
}

fn scale_at(row: u32, k4: u32) -> u32 {
    return row * row_words() + code_words() + k4 / (2u * GROUP4);
}

// The same product as on the host: rounded once.
fn expand(word: Packed, scales: Packed, k4: u32) -> vec4<f32> {
    let odd = k4 / GROUP4 % 2u == 1u;
    return levels(word, k4) * bitcast<f32>(select(scales << 16u, scales & 0xffff0000u, odd));
}

// Elements 4*k4 .. 4*k4+3 of a row.
fn w4(row: u32, k4: u32) -> vec4<f32> {
    return expand(w[code_at(row, k4)], w[scale_at(row, k4)], k4);
}
