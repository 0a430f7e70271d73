fn levels(word: u32, k4: u32) -> vec4<f32> {
    return vec4<f32>(codes(word, k4)) - 8.0;
}
