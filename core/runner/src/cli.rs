//! The command line.

mod execute;
mod faults;
mod overrides;

use std::convert::Infallible;
use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};
use tlbench::config::{Device, UnknownWord, parse_dtype, parse_judging};
use tlbench_sdk::{DType, Judging};

pub(crate) use self::execute::execute;
use self::faults::{FaultOptions, SensitivityOptions};

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
