//! `tlbench list`: what the plugins offer.

use std::fmt::Write as _;

use serde_json::{Value, json};
use tabled::builder::Builder;
use tabled::settings::{Padding, Style};
use tlbench_sdk::{Benchmark, FaultZoo, ReferenceModel};

use crate::plugins::{PluginFile, Registry};
use crate::report::shortened;

/// What the plugins offer, as text.
pub fn human(registry: &Registry) -> String {
    let mut text = String::new();
    let plugins = registry.plugins.iter().map(|plugin| {
        vec![
            plugin.name.clone(),
            plugin.version.clone(),
            plugin.stamp.rustc(),
            plugin.path.display().to_string(),
        ]
    });
    section(
        &mut text,
        "Plugins",
        &["name", "version", "built with", "file"],
        plugins,
    );
    let architectures = registry.architectures.iter().map(|(id, offer)| {
        let info = offer.object.info();
        vec![
            id.clone(),
            info.model_types.join(", "),
            info.description.clone(),
            origin(&offer.plugin),
        ]
    });
    section(
        &mut text,
        "Architectures",
        &["id", "model_type", "what", "plugin"],
        architectures,
    );
    let references = registry.references.iter().map(|(id, offer)| {
        let info = offer.object.info();
        vec![
            id.clone(),
            format!("{} ({})", info.tier.number(), info.tier.name()),
            if info.can_be_subject { "yes" } else { "no" }.to_owned(),
            info.description,
            origin(&offer.plugin),
        ]
    });
    section(
        &mut text,
        "References",
        &["id", "tier", "can be subject", "what", "plugin"],
        references,
    );
    let benchmarks = registry.benchmarks.iter().map(|(id, offer)| {
        let info = offer.object.info();
        vec![
            id.clone(),
            info.module,
            info.description,
            origin(&offer.plugin),
        ]
    });
    section(
        &mut text,
        "Benchmarks",
        &["id", "module", "what a pass proves", "plugin"],
        benchmarks,
    );
    let faults = registry.faults.values().flat_map(|offer| {
        let faults = offer.object.info().faults.into_iter();
        faults.map(|fault| {
            vec![
                fault.id,
                fault.feature.to_string(),
                fault.description,
                origin(&offer.plugin),
            ]
        })
    });
    section(
        &mut text,
        "Faults",
        &["id", "feature", "the model has", "plugin"],
        faults,
    );
    text
}

/// The same for programs.
pub fn machine(registry: &Registry) -> String {
    let plugins: Vec<Value> = registry
        .plugins
        .iter()
        .map(|plugin| {
            json!({
                "name": plugin.name,
                "version": plugin.version,
                "file": plugin.path,
                "sdk_version": plugin.stamp.sdk_version(),
                "rustc": plugin.stamp.rustc(),
                "target": plugin.stamp.target(),
            })
        })
        .collect();
    let document = json!({
        "plugins": plugins,
        "architectures": registry.architectures.values().map(|o| entry(o.object.info(), &o.plugin)).collect::<Vec<_>>(),
        "references": registry.references.values().map(|o| entry(&o.object.info(), &o.plugin)).collect::<Vec<_>>(),
        "faults": registry.faults.values().map(|o| entry(&o.object.info(), &o.plugin)).collect::<Vec<_>>(),
        "benchmarks": registry.benchmarks.values().map(|o| entry(&o.object.info(), &o.plugin)).collect::<Vec<_>>(),
    });
    format!("{document:#}\n")
}

fn entry<T: serde::Serialize>(info: &T, plugin: &PluginFile) -> Value {
    json!({ "info": info, "plugin": plugin.name, "version": plugin.version, "file": plugin.path })
}

fn origin(plugin: &PluginFile) -> String {
    format!("{} {}", plugin.name, plugin.version)
}

fn section(
    text: &mut String,
    title: &str,
    columns: &[&str],
    rows: impl Iterator<Item = Vec<String>>,
) {
    let rows: Vec<Vec<String>> = rows.collect();
    let _ = writeln!(text, "{title}");
    if rows.is_empty() {
        text.push_str("  none\n\n");
        return;
    }
    let mut table = Builder::new();
    table.push_record(columns.iter().copied());
    for row in rows {
        table.push_record(row.iter().map(|cell| shortened(cell)));
    }
    let mut table = table.build();
    table.with(Style::empty()).with(Padding::new(2, 1, 0, 0));
    for row in table.to_string().lines() {
        let _ = writeln!(text, "{}", row.trim_end());
    }
    text.push('\n');
}
