//! What each command does.

use std::path::Path;

use tlbench::config::{ModelEntry, ModelSource};
use tlbench::model::Model;
use tlbench::report::Style;
use tlbench::{
    Config, Event, Extent, Failure, Located, Outcome, Registry, SearchPath, bisect, explain,
    inspect, list, report, twin,
};
use tlbench_checkpoint::RECORDING_FILE;

use super::{Cli, Command, Format};
use crate::terminal::Terminal;

/// Does what the command line says.
pub(crate) fn execute(cli: &Cli, terminal: &Terminal) -> Result<u8, Failure> {
    let config = cli.config()?;
    let registry = Registry::load(&SearchPath {
        named: config.plugins.paths.clone(),
        implied: SearchPath::beside_executable(),
    });
    let desk = Desk {
        cli,
        config: &config,
        registry: &registry,
        terminal,
    };
    match &cli.command {
        None => desk.run(report::human),
        Some(Command::Sensitivity { .. }) => desk.run(report::human_of_faults),
        Some(Command::List) => desk.list(),
        Some(Command::Explain { benchmark }) => desk.explain(benchmark),
        Some(Command::Inspect { model }) => desk.inspect(model),
        Some(Command::Bisect { model, out, .. }) => desk.bisect(model, out),
        Some(Command::Record {
            model,
            out,
            precisions,
            no_parameter_gradients,
        }) => {
            let extent = Extent {
                precisions: precisions.clone(),
                parameter_gradients: !no_parameter_gradients,
            };
            desk.record(model, out.as_deref(), &extent)
        }
        Some(Command::Twin {
            model,
            out,
            seed,
            own_head_dim,
            no_recording,
        }) => {
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
            desk.twin(model, &order)
        }
    }
}

/// What commands work with.
struct Desk<'a> {
    cli: &'a Cli,
    config: &'a Config,
    registry: &'a Registry,
    terminal: &'a Terminal,
}

impl Desk<'_> {
    fn list(&self) -> Result<u8, Failure> {
        let registry = self.registry;
        self.tell_problems();
        self.show(|| list::human(registry), || list::machine(registry))
    }

    fn explain(&self, benchmark: &str) -> Result<u8, Failure> {
        self.tell_problems();
        let text = explain::explain(self.registry, benchmark)?;
        self.show(|| text.clone(), || text.clone())
    }

    fn inspect(&self, model: &str) -> Result<u8, Failure> {
        self.tell_problems();
        let entry = self.entry(model)?;
        let located = Located::find(&entry.source, self.config.run.offline, self.terminal)?;
        let architecture = entry.architecture.as_deref();
        let model = Model::open(&located.folder, architecture, self.registry)?;
        self.show(|| inspect::human(&model), || inspect::machine(&model))
    }

    fn bisect(&self, model: &str, out: &Path) -> Result<u8, Failure> {
        self.tell_problems();
        let options = |id: &str| self.config.reference_options(id);
        let (entry, run) = (self.entry(model)?, &self.config.run);
        let found = bisect::bisect(entry, run, self.registry, &options, out, self.terminal)?;
        let plugins = self.show(|| bisect::human(&found), || bisect::machine(&found))?;
        Ok(match found.exit_code() {
            0 | 101 if plugins != 0 => plugins,
            code => code,
        })
    }

    fn record(&self, model: &str, out: Option<&Path>, extent: &Extent) -> Result<u8, Failure> {
        self.tell_problems();
        let options = |id: &str| self.config.reference_options(id);
        let (entry, run) = (self.entry(model)?, &self.config.run);
        let out = match (out, &entry.source) {
            (Some(out), _) => out.to_owned(),
            (None, ModelSource::Folder(folder)) => folder.join(RECORDING_FILE),
            (None, model) => {
                return Err(Failure::NoPlaceForRecording {
                    model: model.clone(),
                });
            }
        };
        let (registry, terminal) = (self.registry, self.terminal);
        let written = tlbench::record(entry, run, extent, registry, &options, &out, terminal)?;
        let told = || format!("{}\n", written.display());
        self.show(told, told)
    }

    fn twin(&self, model: &str, order: &twin::Order<'_>) -> Result<u8, Failure> {
        self.tell_problems();
        let options = |id: &str| self.config.reference_options(id);
        let (entry, run) = (self.entry(model)?, &self.config.run);
        let made = twin::twin(entry, run, order, self.registry, &options, self.terminal)?;
        self.show(|| twin::human(&made), || twin::machine(&made))
    }

    fn run(&self, report: fn(&[Event], Style, bool) -> String) -> Result<u8, Failure> {
        if self.config.models.is_empty() {
            return Err(Failure::NoModel {
                file: Config::FILE.into(),
            });
        }
        if let Err(error) = tlbench::run(self.config, self.registry, self.terminal) {
            // A benchmark may be unknown because its plugin could not be used.
            self.tell_problems();
            return match self.plugin_code() {
                0 => Err(error.into()),
                code => {
                    self.terminal.error(&error.to_string());
                    Ok(code)
                }
            };
        }
        let events = self.terminal.events();
        let style = if self.cli.common.output.is_some() {
            Style::Plain
        } else {
            Terminal::style()
        };
        self.write(
            || report(&events, style, self.cli.common.verbose),
            || report::json(&events),
        )?;
        Ok(Outcome::of(&events).exit_code())
    }

    /// The one model that the command is about.
    fn entry(&self, model: &str) -> Result<&ModelEntry, Failure> {
        let first = self.config.models.first();
        first.ok_or_else(|| Failure::NoModel { file: model.into() })
    }

    /// Writes an answer, and ends well unless a plugin could not be used.
    fn show(
        &self,
        human: impl FnOnce() -> String,
        machine: impl FnOnce() -> String,
    ) -> Result<u8, Failure> {
        self.write(human, machine)?;
        Ok(self.plugin_code())
    }

    fn write(
        &self,
        human: impl FnOnce() -> String,
        machine: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let text = match self.cli.common.format {
            Format::Human => human(),
            Format::Json => machine(),
        };
        match &self.cli.common.output {
            None => {
                self.terminal.print(&text);
                Ok(())
            }
            Some(file) => std::fs::write(file, text).map_err(|error| Failure::Output {
                file: file.clone(),
                error,
            }),
        }
    }

    fn tell_problems(&self) {
        for problem in &self.registry.problems {
            let told = format!("plugin {}: {}", problem.path.display(), problem.error);
            self.terminal.error(&report::shortened(&told));
        }
    }

    fn plugin_code(&self) -> u8 {
        if self.registry.fatal_problems().next().is_some() {
            Outcome::PluginFailed.exit_code()
        } else {
            0
        }
    }
}
