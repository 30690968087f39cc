//! The command `tlbench`.

mod cli;
mod terminal;

use std::process::ExitCode;

use clap::Parser;
use mimalloc::MiMalloc;

/// For this executable and for its plugins: `malloc`, which they call, is this one.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// `mi_option_purge_delay` of mimalloc.h, which the binding does not name.
const PURGE_DELAY: libmimalloc_sys::mi_option_t = 15;

/// Lets memory that is free stay here: the next run over a model needs as much, and the system would hand it out zeroed.
#[expect(unsafe_code, reason = "the allocator is a library in C")]
fn keep_free_memory() {
    // SAFETY: the option is one of this version's, and may be set at any time.
    unsafe { libmimalloc_sys::mi_option_set_default(PURGE_DELAY, 300) }
}

fn main() -> ExitCode {
    keep_free_memory();
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
