// How many multiply-adds the device makes at best: eight independent chains of vec4s, nothing read in the loop.
struct Params {
    rounds: u32,
    factor: f32, // close to 1, unknown to the compiler
}

var<immediate> p: Params;

@group(0) @binding(0) var<storage, read_write> out: array<f32>;

@compute @workgroup_size(256)
fn main(@builtin(global_invocation_id) id: vec3<u32>) {
    let m = vec4<f32>(p.factor);
    let b = vec4<f32>(f32(id.x) * 1e-9);
    var a0 = b;
    var a1 = b + 1.0;
    var a2 = b + 2.0;
    var a3 = b + 3.0;
    var a4 = b + 4.0;
    var a5 = b + 5.0;
    var a6 = b + 6.0;
    var a7 = b + 7.0;
    for (var i = 0u; i < p.rounds; i++) {
        for (var j = 0u; j < 8u; j++) {
            a0 = fma(a0, m, b);
            a1 = fma(a1, m, b);
            a2 = fma(a2, m, b);
            a3 = fma(a3, m, b);
            a4 = fma(a4, m, b);
            a5 = fma(a5, m, b);
            a6 = fma(a6, m, b);
            a7 = fma(a7, m, b);
        }
    }
    let sum = ((a0 + a1) + (a2 + a3)) + ((a4 + a5) + (a6 + a7));
    out[id.x] = (sum.x + sum.y) + (sum.z + sum.w);
}
