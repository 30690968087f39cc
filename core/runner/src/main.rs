//! The command `tlbench`.

mod cli;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// For this executable and for its plugins: `malloc`, which they call, is this one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    let cli = cli::Cli::parse();
    let terminal = terminal::Terminal::new(cli.common.quiet);
    match cli::execute(&cli, &terminal) {
        Ok(code) => ExitCode::from(code),
        Err(failure) => {
            terminal.error(&failure.to_string());
            ExitCode::from(failure.exit_code())
        }
    }
}
