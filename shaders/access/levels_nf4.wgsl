// The sixteen levels of QLoRA, chosen bit by bit: a table would be a load for every weight.
fn levels(word: u32, k4: u32) -> vec4<f32> {
    let c = codes(word, k4);
    let low = (c & vec4<u32>(1u)) != vec4<u32>(0u);
    let second = (c & vec4<u32>(2u)) != vec4<u32>(0u);
    let third = (c & vec4<u32>(4u)) != vec4<u32>(0u);
    let a = pair(-1.0, -0.6961928009986877, low);
    let b = pair(-0.5250730514526367, -0.39491748809814453, low);
    let d = pair(-0.28444138169288635, -0.18477343022823334, low);
    let e = pair(-0.09105003625154495, 0.0, low);
    let f = pair(0.07958029955625534, 0.16093020141124725, low);
    let g = pair(0.24611230194568634, 0.33791524171829224, low);
    let h = pair(0.44070982933044434, 0.5626170039176941, low);
    let i = pair(0.7229568362236023, 1.0, low);
    let negative = select(select(a, b, second), select(d, e, second), third);
    let positive = select(select(f, g, second), select(h, i, second), third);
    return select(negative, positive, c >= vec4<u32>(8u));
}

fn pair(even: f32, odd: f32, low: vec4<bool>) -> vec4<f32> {
    return select(vec4<f32>(even), vec4<f32>(odd), low);
}
