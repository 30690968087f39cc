//! Keys that nobody read.

use tlbench_sdk::{
    Benchmark, BenchmarkInfo, Check, Judgement, Mode, ModelInfo, PluginError, Severity, Trace,
    Verdict,
};

use crate::hf_keys::read_by;
use crate::{MODULE, listed};

/// Every key of `config.json` was read, or is known to change nothing.
pub(crate) struct ConfigCoverage;

impl Benchmark for ConfigCoverage {
    fn info(&self) -> BenchmarkInfo {
        BenchmarkInfo::new(
            "config_coverage",
            MODULE,
            "every key of config.json was read by the adapter, or is known to change nothing",
        )
        .explained(include_str!("explained/config_coverage.txt"))
        .only_in(Mode::Raw)
    }

    fn plan(&self, _: &ModelInfo) -> Result<Vec<Check>, PluginError> {
        Ok(vec![Check {
            variant: "config".to_owned(),
            requests: Vec::new(),
        }])
    }

    fn judge(&self, model: &ModelInfo, _: &Check, _: &[Trace]) -> Result<Judgement, PluginError> {
        Ok(Judgement::Verdict(verdict(model)))
    }
}

fn verdict(model: &ModelInfo) -> Verdict {
    let (unread, class) = (&model.usage.keys_not_read, &model.spec.architecture);
    if unread.is_empty() {
        let count = model.usage.keys_read.len();
        let message = format!("no key is left: {count} were read, the others change nothing");
        return Verdict::new(Severity::Info, message);
    }
    let known: Option<Vec<&str>> = read_by(class).map(Iterator::collect);
    let (mut missed, mut others) = (Vec::new(), Vec::new());
    for key in unread {
        let is_missed = known
            .as_ref()
            .is_some_and(|known| known.contains(&key.as_str()));
        let list = if is_missed { &mut missed } else { &mut others };
        list.push(key.clone());
    }
    let verdict = if !missed.is_empty() {
        let message = format!(
            "not read, though {class} of HF reads it: {}",
            listed(&missed)
        );
        Verdict::new(Severity::Danger, message)
    } else if known.is_some() {
        let message = format!(
            "not read, nor does {class} of HF read it: {}",
            listed(&others)
        );
        Verdict::new(Severity::Warning, message)
    } else {
        let message = format!(
            "not read, and it is not known whether {class} of HF reads it: {}",
            listed(&others)
        );
        Verdict::new(Severity::Warning, message)
    };
    unread
        .iter()
        .fold(verdict, |verdict, key| verdict.detail("key not read", key))
}
