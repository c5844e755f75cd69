//! The program `spooky`; see the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    spooky_mio::cli::run(std::env::args_os())
}
