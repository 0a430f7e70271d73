// Core for few rows (decoding) on GPUs, bound by reading w: a workgroup of 64 makes 16 rows by 16 columns, an invocation one
// row by 4 columns, so that even a narrow w gives many workgroups. Tiles are 64 steps of the shared dimension long.

var<workgroup> tile_a: array<vec4<f32>, 256>; // [16 rows][16 quads of steps], quad i of row r at r*16 + (i ^ r)
var<workgroup> tile_b: array<vec4<f32>, 256>; // [64 steps][4 quads of columns], quad q of step s at s*4 + (q ^ s/4 % 4)

@compute @workgroup_size(64)
fn main(@builtin(workgroup_id) group: vec3<u32>, @builtin(local_invocation_index) lane: u32) {
    let tile_row = group.y * 16u;
    let tile_quad = group.x * 4u;
    let end = depth_end(group.z);

    let r = lane / 4u;
    let c = lane % 4u;
    let row = tile_row + r;
    let quad = tile_quad + c;
    let q = min(quad, out_quads() - 1u);
    var sum = start(row, q);

    // What this invocation stages: four steps `i` of column quad `lane / 16`, and of rows `lane / 16 + 0, 4, 8, 12`.
    let i = lane % 16u;
    let stage_quad = lane / 16u;
    for (var first = depth_first(group.z); first < end; first += 16u) {
        if (first + i < end) {
            for (var j = 0u; j < 16u; j += 4u) {
                let stage_row = stage_quad + j;
                tile_a[stage_row * 16u + (i ^ stage_row)] = a4(tile_row + stage_row, first + i);
            }
            let b = b44(min(tile_quad + stage_quad, out_quads() - 1u), first + i);
            for (var j = 0u; j < 4u; j++) {
                tile_b[(i * 4u + j) * 4u + (stage_quad ^ (i % 4u))] = b[j];
            }
        }
        workgroupBarrier();
        let quads = min(16u, end - first);
        for (var k = 0u; k < quads; k++) {
            let a = tile_a[r * 16u + (k ^ r)];
            let at = k * 16u + (c ^ (k % 4u));
            sum = fma(vec4<f32>(a.x), tile_b[at], sum);
            sum = fma(vec4<f32>(a.y), tile_b[at + 4u], sum);
            sum = fma(vec4<f32>(a.z), tile_b[at + 8u], sum);
            sum = fma(vec4<f32>(a.w), tile_b[at + 12u], sum);
        }
        workgroupBarrier();
    }

    let extra = epilogue(q);
    if (quad < out_quads() && row < out_rows()) {
        store(group.z, row, quad, sum + extra);
    }
}
