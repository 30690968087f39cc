//! From text to a [`Config`].

use std::collections::BTreeMap;
use std::path::Path;

use toml::de::DeTable;

use super::problem::{ConfigError, Position, ProblemKind};
use super::prompt::read_prompt;
use super::section::{Document, Schema, Section};
use super::words::{Device, ReferenceChoice, parse_dtype, parse_judging};
use super::{
    BenchmarkEntry, Config, ModelEntry, ModelSource, PluginSettings, RunSettings, Sensitivity,
};

static TOP: Schema = Schema {
    place: "at the top level",
    keys: &["run", "models", "benchmarks", "plugins", "reference"],
};
static RUN: Schema = Schema {
    place: "in [run]",
    keys: &[
        "device",
        "dtype",
        "judging",
        "text",
        "input_ids",
        "references",
        "subject",
        "compat",
        "max_tokens",
        "offline",
        "sensitivity",
        "min_sensitivity",
    ],
};
static MODEL: Schema = Schema {
    place: "in [[models]]",
    keys: &[
        "name",
        "path",
        "hub",
        "recording",
        "architecture",
        "dtype",
        "text",
        "input_ids",
        "references",
        "subject",
    ],
};
static BENCHMARK: Schema = Schema {
    place: "in [[benchmarks]]",
    keys: &["name", "options"],
};
static PLUGINS: Schema = Schema {
    place: "in [plugins]",
    keys: &["paths"],
};
/// Its keys are the ids of references, whatever they are.
static REFERENCE: Schema = Schema {
    place: "in [reference]",
    keys: &[],
};
static SCHEMAS: &[&Schema] = &[&TOP, &RUN, &MODEL, &BENCHMARK, &PLUGINS];

pub(super) fn parse(text: &str, file: &Path) -> Result<Config, ConfigError> {
    let document = Document::new(text, SCHEMAS);
    let (table, errors) = DeTable::parse_recoverable(text);
    for error in &errors {
        document.note_syntax(error);
    }
    let folder = file.parent().unwrap_or(Path::new(""));
    // What is left of a text that is no TOML would only give rise to more complaints.
    let config = if errors.is_empty() {
        read(&document, &table, folder)
    } else {
        Config::default()
    };
    let problems = document.into_problems();
    if problems.is_empty() {
        Ok(config)
    } else {
        Err(ConfigError::Invalid {
            file: file.to_owned(),
            problems,
        })
    }
}

fn read(document: &Document<'_>, table: &toml::Spanned<DeTable<'_>>, folder: &Path) -> Config {
    let top = Section::new(document, &TOP, table.get_ref(), table.span());
    let run = top.section("run", &RUN);
    let run = run.map_or_else(RunSettings::default, |section| read_run(&section));
    let mut benchmarks: Vec<BenchmarkEntry> = top
        .sections("benchmarks", &BENCHMARK)
        .iter()
        .filter_map(read_benchmark)
        .collect();
    if benchmarks.is_empty() {
        benchmarks = Config::default().benchmarks;
    }
    Config {
        models: read_models(document, &top.sections("models", &MODEL), &run, folder),
        run,
        benchmarks,
        plugins: top
            .section("plugins", &PLUGINS)
            .map(|section| read_plugins(&section, folder))
            .unwrap_or_default(),
        references: top.opaque_tables("reference", &REFERENCE),
    }
}

fn read_run(section: &Section<'_>) -> RunSettings {
    let default = RunSettings::default();
    RunSettings {
        subject: section.text("subject"),
        device: section
            .word("device", str::parse::<Device>)
            .unwrap_or(default.device),
        dtype: section.word("dtype", parse_dtype).unwrap_or(default.dtype),
        judging: section
            .word("judging", parse_judging)
            .unwrap_or(default.judging),
        prompt: read_prompt(section).unwrap_or(default.prompt),
        references: read_references(section).unwrap_or(default.references),
        compat: section.flag("compat").unwrap_or(default.compat),
        max_tokens: section.size("max_tokens"),
        offline: section.flag("offline").unwrap_or(default.offline),
        sensitivity: read_sensitivity(section),
        excluded_tiers: default.excluded_tiers,
    }
}

fn read_sensitivity(section: &Section<'_>) -> Option<Sensitivity> {
    let asked = section.flag("sensitivity");
    let minimum = section.share("min_sensitivity");
    (asked.unwrap_or(minimum.is_some())).then(|| Sensitivity {
        minimum,
        ..Sensitivity::default()
    })
}

fn read_references(section: &Section<'_>) -> Option<Vec<ReferenceChoice>> {
    let words = section.texts("references")?;
    Some(words.iter().map(|word| word.as_str().into()).collect())
}

fn read_models(
    document: &Document<'_>,
    sections: &[Section<'_>],
    run: &RunSettings,
    folder: &Path,
) -> Vec<ModelEntry> {
    let mut names: BTreeMap<String, Position> = BTreeMap::new();
    let mut models = Vec::new();
    for section in sections {
        let Some(model) = read_model(section, run, folder) else {
            continue;
        };
        let span = section.span("name");
        if let Some(&first) = names.get(&model.name) {
            let name = model.name.clone();
            document.note(&span, ProblemKind::SameName { name, first });
        } else {
            names.insert(model.name.clone(), document.position(&span));
        }
        models.push(model);
    }
    models
}

fn read_model(section: &Section<'_>, run: &RunSettings, folder: &Path) -> Option<ModelEntry> {
    let recording = section.text("recording").map(|path| folder.join(path));
    let subject = section.text("subject").or_else(|| run.subject.clone());
    let architecture = section.text("architecture");
    let dtype = section.word("dtype", parse_dtype).unwrap_or(run.dtype);
    let prompt = read_prompt(section).unwrap_or_else(|| run.prompt.clone());
    let references = read_references(section).unwrap_or_else(|| run.references.clone());
    let name = section.text("name");
    let source = read_source(section, folder)?;
    Some(ModelEntry {
        name: name.unwrap_or_else(|| source.name()),
        source,
        recording,
        subject,
        architecture,
        dtype,
        prompt,
        references,
    })
}

fn read_source(section: &Section<'_>, folder: &Path) -> Option<ModelSource> {
    if section.has("hub") {
        section.excludes("hub", "path");
        return section.hub_id("hub").map(ModelSource::Hub);
    }
    if !section.has("path") {
        section.note_missing(
            "path",
            "the folder of a checkpoint, or `hub` with a model of the Hub",
        );
        return None;
    }
    let path = section.needed_text("path", "the folder of a checkpoint")?;
    Some(ModelSource::Folder(folder.join(path)))
}

fn read_benchmark(section: &Section<'_>) -> Option<BenchmarkEntry> {
    let options = section.opaque("options").unwrap_or_default();
    let name = section.needed_text("name", "a benchmark, a module of benchmarks, or a glob")?;
    Some(BenchmarkEntry {
        options,
        ..BenchmarkEntry::new(name)
    })
}

fn read_plugins(section: &Section<'_>, folder: &Path) -> PluginSettings {
    let paths = section.texts("paths").unwrap_or_default();
    PluginSettings {
        paths: paths.iter().map(|path| folder.join(path)).collect(),
    }
}
