// One invocation per work item: nothing to merge.
const LANES: u32 = 1u;
const N4: u32 = ROWS * HEAD4;

fn merge_softmax(top: f32, sum: f32, lid: u32) -> vec2<f32> {
    return vec2(top, sum);
}

fn merge_sum(acc: ptr<function, array<vec4<f32>, N4>>, lid: u32) {
}
