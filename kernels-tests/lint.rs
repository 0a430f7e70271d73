//! Every composed variant keeps the rules and translates to the language of every driver. Needs no adapter.

use naga::back::{hlsl, msl, spv};
use naga::{Module, ShaderStage, valid::ModuleInfo};
use probity::kernels::compose::{compose, compositions};
use probity::kernels::{Needs, Variant, lint, registry};

/// Calls `f` with the name, text and entry point of every composition of every variant.
fn for_each_module(mut f: impl FnMut(&str, &str, &'static Variant)) {
    for variant in registry::all().flat_map(|k| k.variants) {
        for (weight, consts) in compositions(variant) {
            let name = format!("{} {weight:?} {consts:?}", variant.name);
            f(&name, &compose(variant, weight, consts), variant);
        }
    }
}

#[test]
fn every_variant_keeps_the_rules() {
    let mut broken = Vec::new();
    for_each_module(|name, text, variant| {
        broken.extend(lint::check(text, variant.entry).into_iter().map(|p| format!("{name}: {p}")));
    });
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}

#[test]
fn every_variant_translates_to_spirv_msl_and_hlsl() {
    for_each_module(|name, text, variant| {
        let entry = variant.entry;
        let (module, info) = lint::parse(text).unwrap_or_else(|e| panic!("{name}: {}", e.join("\n")));
        to_spirv(&module, &info, entry).unwrap_or_else(|e| panic!("{name} to SPIR-V: {e}"));
        // Metal has no matrices of 16x16, DX12 none at all.
        if variant.needs != Needs::Cooperative(16) {
            to_msl(&module, &info, entry).unwrap_or_else(|e| panic!("{name} to MSL: {e}"));
        }
        if matches!(variant.needs, Needs::Cooperative(_)) {
            return;
        }
        to_hlsl(&module, &info, entry).unwrap_or_else(|e| panic!("{name} to HLSL: {e}"));
    });
}

fn to_spirv(module: &Module, info: &ModuleInfo, entry: &str) -> Result<(), String> {
    let options = spv::Options { lang_version: (1, 3), ..Default::default() };
    let pipeline = spv::PipelineOptions { shader_stage: ShaderStage::Compute, entry_point: entry.into() };
    let words = spv::write_vec(module, info, &options, Some(&pipeline)).map_err(|e| e.to_string())?;
    assert_eq!(words[0], 0x0723_0203, "the magic number");
    Ok(())
}

fn to_msl(module: &Module, info: &ModuleInfo, entry: &str) -> Result<(), String> {
    let options = msl::Options { lang_version: (2, 4), ..Default::default() };
    let pipeline =
        msl::PipelineOptions { entry_point: Some((ShaderStage::Compute, entry.into())), ..Default::default() };
    let (text, translation) = msl::write_string(module, info, &options, &pipeline).map_err(|e| e.to_string())?;
    for name in translation.entry_point_names {
        assert!(text.contains(&name.map_err(|e| e.to_string())?));
    }
    Ok(())
}

fn to_hlsl(module: &Module, info: &ModuleInfo, entry: &str) -> Result<(), String> {
    let immediates_target = Some(hlsl::BindTarget { register: 0, space: 1, ..Default::default() });
    let options = hlsl::Options {
        shader_model: hlsl::ShaderModel::V6_0,
        immediates_target,
        special_constants_binding: Some(hlsl::BindTarget { register: 0, space: 2, ..Default::default() }),
        ..Default::default()
    };
    let pipeline = hlsl::PipelineOptions { entry_point: Some((ShaderStage::Compute, entry.into())) };
    let mut text = String::new();
    let mut writer = hlsl::Writer::new(&mut text, &options, &pipeline);
    writer.write(module, info, None).map_err(|e| e.to_string())?;
    assert!(text.contains("numthreads"));
    Ok(())
}
