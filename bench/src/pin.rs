//! Which processors a process runs on, by util-linux' `taskset`.
//!
//! The system call itself needs unsafe code, and `taskset` is on every Linux.

use std::process::{Command, Stdio};

/// Keeps this process, with the threads it starts from now on, on `cpus` ("0,2-3").
pub fn this_process(cpus: &str) -> Result<(), String> {
    let pid = std::process::id().to_string();
    let output = Command::new("taskset")
        .args(["-p", "-c", cpus, &pid])
        .stdin(Stdio::null())
        .output()
        .map_err(|error| missing(&error))?;
    if output.status.success() {
        return Ok(());
    }
    let why = String::from_utf8_lossy(&output.stderr);
    Err(format!("cannot run on processors {cpus}: {}", why.trim()))
}

/// A command that runs `program` on `cpus`, under the pid it is started with.
pub fn command(cpus: &str, program: &std::path::Path) -> Command {
    let mut command = Command::new("taskset");
    command.args(["-c", cpus]).arg(program);
    command
}

/// What to say when `taskset` itself does not start.
pub fn missing(error: &std::io::Error) -> String {
    format!("taskset does not start ({error}): it pins processes to processors, install util-linux")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pinned_command_runs_where_it_was_told() {
        let output = command("0", "cat".as_ref())
            .arg("/proc/self/status")
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        assert!(text.contains("Cpus_allowed_list:\t0\n"), "{text}");
    }

    #[test]
    fn processors_that_are_not_there_are_an_error() {
        let error = this_process("4095").unwrap_err();
        assert!(error.contains("4095"), "{error}");
    }
}
