//! The command line.

mod faults;

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::ffi::OsString;
use std::path::{Path, PathBuf};

use clap::{Args, Parser, Subcommand, ValueEnum};
use tlbench::config::{
    Device, ModelEntry, ModelSource, Overrides, Prompt, UnknownWord, parse_dtype, parse_judging,
};
use tlbench::model::Model;
use tlbench::report::Style;
use tlbench::{
    Config, Event, Extent, Failure, Located, Outcome, Registry, SearchPath, bisect, explain,
    inspect, list, report, twin,
};
use tlbench_checkpoint::RECORDING_FILE;
use tlbench_sdk::{DType, Judging, Tier};

use self::faults::{FaultOptions, SensitivityOptions};
use crate::terminal::Terminal;

/// Is a transformer implementation right, and if not, where does it first go wrong?
#[derive(Parser)]
#[command(version, after_help = AFTER_HELP, max_term_width = 100)]
pub(crate) struct Cli {
    #[command(flatten)]
    pub(crate) common: Common,
    /// A checkpoint's folder, a model of the Hub (owner/name@revision), or one of the config; may be given more than
    /// once
    #[arg(long = "model", value_name = "MODEL")]
    models: Vec<String>,
    #[command(flatten)]
    run: RunOptions,
    #[command(flatten)]
    sensitivity: SensitivityOptions,
    #[command(subcommand)]
    command: Option<Command>,
}

const AFTER_HELP: &str = "\
Exit codes: 0 passed, 2 wrong usage, 4 nothing selected, 96 wrong config, 98 a plugin could not be used, 100 verification \
failed, 101 could not run. Where several apply to a run, the first of 100, 98, 101, 4 wins.";

#[derive(Args)]
pub(crate) struct Common {
    /// The config; without it and without --model, tlbench.toml of this folder
    #[arg(long, global = true, value_name = "FILE", env = "TLBENCH_CONFIG")]
    config: Option<PathBuf>,
    /// A plugin, or a folder of plugins, tried before all others; may be given more than once
    #[arg(long = "plugin", global = true, value_name = "PATH")]
    plugins: Vec<PathBuf>,
    /// Plugins, and folders of plugins, tried next
    #[arg(
        long = "plugin-path",
        global = true,
        hide = true,
        env = "TLBENCH_PLUGIN_PATH",
        value_delimiter = PATH_SEPARATOR
    )]
    plugin_path: Vec<OsString>,
    /// The Python that runs HuggingFace transformers
    #[arg(long, global = true, value_name = "PROGRAM", env = "TLBENCH_PYTHON")]
    python: Option<String>,
    /// What the inputs are made of, instead of the config's text
    #[arg(long, global = true, value_name = "TEXT", conflicts_with = "tokens")]
    text: Option<String>,
    /// Token ids that the inputs are made of, instead of a text: 464,2068,7586
    #[arg(
        long,
        global = true,
        value_name = "IDS",
        value_delimiter = ',',
        allow_negative_numbers = true
    )]
    tokens: Option<Vec<u32>>,
    /// Models of the Hub from the cache alone
    #[arg(long, global = true, env = "HF_HUB_OFFLINE", value_parser = parse_truth)]
    offline: bool,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value_t = Format::Human)]
    format: Format,
    /// Where results are written instead of stdout
    #[arg(long, global = true, value_name = "FILE")]
    output: Option<PathBuf>,
    /// No progress on stderr
    #[arg(short, long, global = true)]
    pub(crate) quiet: bool,
    /// Details of checks that passed as well
    #[arg(short, long, global = true)]
    verbose: bool,
}

#[cfg(windows)]
const PATH_SEPARATOR: char = ';';
#[cfg(not(windows))]
const PATH_SEPARATOR: char = ':';

/// A variable's word, as Python understands it.
fn parse_truth(word: &str) -> Result<bool, Infallible> {
    Ok(tlbench_hub::is_true(word))
}

#[derive(Args)]
struct RunOptions {
    /// Where the model runs
    #[arg(long, env = "TLBENCH_DEVICE", value_parser = |word: &str| word.parse::<Device>())]
    device: Option<Device>,
    /// The precision on trial: f32, f64, bf16 or f16
    #[arg(long, env = "TLBENCH_DTYPE", value_parser = parse_dtype)]
    dtype: Option<DType>,
    /// What decides: calibrated or tolerance
    #[arg(long, value_parser = parse_judging)]
    judging: Option<Judging>,
    /// Only these benchmarks: a name, a module, or a glob; may be given more than once
    #[arg(long = "benchmark", value_name = "GLOB")]
    benchmarks: Vec<String>,
    /// Who is on trial instead of the bridge: a reference, as `tlbench list` has it
    #[arg(long, value_name = "REFERENCE")]
    subject: Option<String>,
    /// A recording of the model
    #[arg(long, value_name = "FILE")]
    recording: Option<PathBuf>,
    /// Not in compatibility mode
    #[arg(long)]
    no_compat: bool,
    /// Not against HuggingFace
    #[arg(long)]
    no_hf_reference: bool,
    /// Not against HookedTransformer
    #[arg(long)]
    no_ht_reference: bool,
}

#[derive(Subcommand)]
enum Command {
    /// What the plugins offer
    List,
    /// What an adapter makes of a checkpoint: components, hooks, tensors, config keys
    Inspect {
        /// A checkpoint's folder, a model of the Hub (owner/name@revision), or one of the config
        model: String,
    },
    /// What a benchmark proves, how, what it does not see, and its options
    Explain {
        /// Its name, as `tlbench list` has it
        benchmark: String,
    },
    /// Puts mistakes of real ports into a model, and tells which of them the suite notices
    Sensitivity {
        /// A checkpoint's folder, a model of the Hub (owner/name@revision), or one of the config
        model: String,
        #[command(flatten)]
        faults: FaultOptions,
        #[command(flatten)]
        run: RunOptions,
    },
    /// Finds the first operation of a model that is wrong, and writes what it was given and gave as a file
    Bisect {
        /// A checkpoint's folder, a model of the Hub (owner/name@revision), or one of the config
        model: String,
        /// The folder that reproduction.safetensors is written to
        #[arg(long, value_name = "FOLDER", default_value = ".")]
        out: PathBuf,
        #[command(flatten)]
        run: RunOptions,
    },
    /// Writes what live HuggingFace answers as a recording
    Record {
        /// A checkpoint's folder, a model of the Hub (owner/name@revision), or one of the config
        model: String,
        /// The file; by default recording.safetensors in the checkpoint's folder
        #[arg(long)]
        out: Option<PathBuf>,
        /// The precisions whose rounding errors are measured
        #[arg(
            long,
            value_name = "DTYPES",
            value_delimiter = ',',
            value_parser = parse_precision,
            default_values = ["f32", "bf16", "f16"]
        )]
        precisions: Vec<DType>,
        /// Without the gradients of parameters, which take as much room as the weights do in f32
        #[arg(long)]
        no_parameter_gradients: bool,
    },
    /// Makes a small model of the same family and features, and with a Python its recording
    Twin {
        /// A folder with a config.json, a model of the Hub (owner/name@revision), or one of the config
        model: String,
        /// The folder that it is written to: a new one, or an empty one
        #[arg(long, value_name = "FOLDER")]
        out: PathBuf,
        /// What its weights are drawn from
        #[arg(long, value_name = "NUMBER", default_value_t = 0)]
        seed: u64,
        /// Heads with a width of their own, if the architecture has a key for it, even if the model's config has none
        #[arg(long)]
        own_head_dim: bool,
        /// Without a recording, even if there is a Python to make one
        #[arg(long)]
        no_recording: bool,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Human,
    Json,
}

/// Does what the command line says.
pub(crate) fn execute(cli: &Cli, terminal: &Terminal) -> Result<u8, Failure> {
    let config = cli.config()?;
    let registry = Registry::load(&SearchPath {
        named: config.plugins.paths.clone(),
        implied: SearchPath::beside_executable(),
    });
    match &cli.command {
        None => cli.run(&config, &registry, report::human, terminal),
        Some(Command::Sensitivity { .. }) => {
            cli.run(&config, &registry, report::human_of_faults, terminal)
        }
        Some(Command::List) => {
            cli.tell_problems(&registry, terminal);
            cli.write(
                terminal,
                match cli.common.format {
                    Format::Human => list::human(&registry),
                    Format::Json => list::machine(&registry),
                },
            )?;
            Ok(plugin_code(&registry))
        }
        Some(Command::Explain { benchmark }) => {
            cli.tell_problems(&registry, terminal);
            cli.write(terminal, explain::explain(&registry, benchmark)?)?;
            Ok(plugin_code(&registry))
        }
        Some(Command::Inspect { model }) => {
            cli.tell_problems(&registry, terminal);
            let entry = entry(&config, model)?;
            let located = Located::find(&entry.source, config.run.offline, terminal)?;
            let model = Model::open(&located.folder, entry.architecture.as_deref(), &registry)?;
            cli.write(
                terminal,
                match cli.common.format {
                    Format::Human => inspect::human(&model),
                    Format::Json => inspect::machine(&model),
                },
            )?;
            Ok(plugin_code(&registry))
        }
        Some(Command::Bisect { model, out, .. }) => {
            cli.tell_problems(&registry, terminal);
            let options = |id: &str| config.reference_options(id);
            let entry = entry(&config, model)?;
            let found = bisect::bisect(entry, &config.run, &registry, &options, out, terminal)?;
            cli.write(
                terminal,
                match cli.common.format {
                    Format::Human => bisect::human(&found),
                    Format::Json => bisect::machine(&found),
                },
            )?;
            Ok(match (found.exit_code(), plugin_code(&registry)) {
                (0 | 101, code) if code != 0 => code,
                (code, _) => code,
            })
        }
        Some(Command::Record {
            model,
            out,
            precisions,
            no_parameter_gradients,
        }) => {
            cli.tell_problems(&registry, terminal);
            let entry = entry(&config, model)?;
            let out = match (out, &entry.source) {
                (Some(out), _) => out.clone(),
                (None, ModelSource::Folder(folder)) => folder.join(RECORDING_FILE),
                (None, model) => {
                    return Err(Failure::NoPlaceForRecording {
                        model: model.clone(),
                    });
                }
            };
            let extent = Extent {
                precisions: precisions.clone(),
                parameter_gradients: !no_parameter_gradients,
            };
            let options = |id: &str| config.reference_options(id);
            let written = tlbench::record(
                entry,
                &config.run,
                &extent,
                &registry,
                &options,
                &out,
                terminal,
            )?;
            cli.write(terminal, format!("{}\n", written.display()))?;
            Ok(plugin_code(&registry))
        }
        Some(Command::Twin {
            model,
            out,
            seed,
            own_head_dim,
            no_recording,
        }) => {
            cli.tell_problems(&registry, terminal);
            let order = twin::Order {
                folder: out,
                seed: *seed,
                heads: if *own_head_dim {
                    twin::HeadWidth::Own
                } else {
                    twin::HeadWidth::AsInModel
                },
                recording: match (no_recording, &cli.common.python) {
                    (true, _) => twin::Wanted::No,
                    (false, None) => twin::Wanted::IfPossible,
                    (false, Some(_)) => twin::Wanted::Yes,
                },
            };
            let options = |id: &str| config.reference_options(id);
            let entry = entry(&config, model)?;
            let made = twin::twin(entry, &config.run, &order, &registry, &options, terminal)?;
            cli.write(
                terminal,
                match cli.common.format {
                    Format::Human => twin::human(&made),
                    Format::Json => twin::machine(&made),
                },
            )?;
            Ok(plugin_code(&registry))
        }
    }
}

impl Cli {
    fn run(
        &self,
        config: &Config,
        registry: &Registry,
        report: fn(&[Event], Style, bool) -> String,
        terminal: &Terminal,
    ) -> Result<u8, Failure> {
        if config.models.is_empty() {
            return Err(Failure::NoModel {
                file: Config::FILE.into(),
            });
        }
        if let Err(error) = tlbench::run(config, registry, terminal) {
            // A benchmark may be unknown because its plugin could not be used.
            self.tell_problems(registry, terminal);
            return match plugin_code(registry) {
                0 => Err(error.into()),
                code => {
                    terminal.error(&error.to_string());
                    Ok(code)
                }
            };
        }
        let events = terminal.events();
        let style = if self.common.output.is_some() {
            Style::Plain
        } else {
            Terminal::style()
        };
        self.write(
            terminal,
            match self.common.format {
                Format::Human => report(&events, style, self.common.verbose),
                Format::Json => report::json(&events),
            },
        )?;
        Ok(Outcome::of(&events).exit_code())
    }

    fn config(&self) -> Result<Config, Failure> {
        let default = Path::new(Config::FILE);
        let config = match &self.common.config {
            Some(file) => Config::load(file)?,
            // A model on the command line is judged by the defaults, whatever lies in this folder.
            None if self.models.is_empty() && default.is_file() => Config::load(default)?,
            None => Config::default(),
        };
        let mut config = config.with_overrides(self.overrides())?;
        if let Some(
            Command::Inspect { model }
            | Command::Bisect { model, .. }
            | Command::Record { model, .. }
            | Command::Sensitivity { model, .. }
            | Command::Twin { model, .. },
        ) = &self.command
        {
            config = config.with_overrides(Overrides {
                models: vec![model.clone()],
                ..Overrides::default()
            })?;
        }
        Ok(config)
    }

    fn overrides(&self) -> Overrides {
        let (run, sensitivity) = match &self.command {
            Some(Command::Sensitivity { run, faults, .. }) => (run, Some(faults.settings())),
            Some(Command::Bisect { run, .. }) => (run, None),
            _ => (&self.run, self.sensitivity.settings()),
        };
        let excluded = [
            (run.no_hf_reference, Tier::HuggingFace),
            (run.no_ht_reference, Tier::HookedTransformer),
        ];
        // As in `PATH`, what stands between two separators may be nothing.
        let plugin_path = self.common.plugin_path.iter();
        let plugin_path = plugin_path.filter(|path| !path.is_empty());
        let python = self.common.python.iter().map(|python| {
            let table = [("python".to_owned(), toml::Value::String(python.clone()))]
                .into_iter()
                .collect();
            ("hf-python".to_owned(), table)
        });
        Overrides {
            models: self.models.clone(),
            subject: run.subject.clone(),
            recording: run.recording.clone(),
            device: run.device,
            dtype: run.dtype,
            prompt: self.prompt(),
            judging: run.judging,
            sensitivity,
            offline: self.common.offline.then_some(true),
            compat: run.no_compat.then_some(false),
            excluded_tiers: excluded
                .into_iter()
                .filter(|(excluded, _)| *excluded)
                .map(|(_, tier)| tier)
                .collect(),
            benchmarks: run.benchmarks.clone(),
            plugins: self
                .common
                .plugins
                .iter()
                .cloned()
                .chain(plugin_path.map(PathBuf::from))
                .collect(),
            references: python.collect::<BTreeMap<_, _>>(),
        }
    }

    fn prompt(&self) -> Option<Prompt> {
        let tokens = |ids: &Vec<u32>| Prompt::Tokens(ids.iter().copied().map(i64::from).collect());
        let text = self.common.text.clone().map(Prompt::Text);
        text.or_else(|| self.common.tokens.as_ref().map(tokens))
    }

    fn write(&self, terminal: &Terminal, text: String) -> Result<(), Failure> {
        match &self.common.output {
            None => terminal.print(&text),
            Some(file) => {
                std::fs::write(file, text).map_err(|error| Failure::Output {
                    file: file.clone(),
                    error,
                })?;
            }
        }
        Ok(())
    }

    fn tell_problems(&self, registry: &Registry, terminal: &Terminal) {
        for problem in &registry.problems {
            let told = format!("plugin {}: {}", problem.path.display(), problem.error);
            terminal.error(&report::shortened(&told));
        }
    }
}

/// A precision that has rounding errors to speak of.
fn parse_precision(word: &str) -> Result<DType, UnknownWord> {
    parse_dtype(word).and_then(|dtype| match dtype {
        DType::F64 => Err(UnknownWord {
            expected: "`f32`, `bf16` or `f16` (an f64 model is judged by the rounding of f32)"
                .into(),
            found: word.to_owned(),
            suggestion: None,
        }),
        other => Ok(other),
    })
}

fn entry<'a>(config: &'a Config, model: &str) -> Result<&'a ModelEntry, Failure> {
    config
        .models
        .first()
        .ok_or_else(|| Failure::NoModel { file: model.into() })
}

fn plugin_code(registry: &Registry) -> u8 {
    if registry.fatal_problems().next().is_some() {
        Outcome::PluginFailed.exit_code()
    } else {
        0
    }
}
