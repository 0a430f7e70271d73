// Four codes of four bits, from the half of the word that an even or odd vec4 has.
fn codes(word: u32, k4: u32) -> vec4<u32> {
    return (vec4<u32>(word >> (k4 % 2u * 16u)) >> vec4<u32>(0u, 4u, 8u, 12u)) & vec4<u32>(15u);
}
