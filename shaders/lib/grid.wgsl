// Number of this workgroup in a grid that is folded over x and y (a dimension holds at most 65535 workgroups).
fn linear_group(group: vec3<u32>, groups: vec3<u32>) -> u32 {
    return group.y * groups.x + group.x;
}
