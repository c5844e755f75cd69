//! Processor time of a process, as the kernel counts it.

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

/// Ticks a second in `/proc/PID/stat`; the kernel shows user space 100 everywhere.
const TICKS: u64 = 100;

/// User and system time of all threads of `pid` so far.
///
/// To the nanosecond where the kernel keeps scheduler statistics, else to 10 ms.
/// Threads that ended in between are missing from the finer figure; a daemon's
/// workers don't.
pub fn spent(pid: u32) -> io::Result<Duration> {
    let process = PathBuf::from(format!("/proc/{pid}"));
    let precise = tasks(&process)?.iter().map(|task| schedstat(task)).sum();
    match precise {
        Some(time) if time > Duration::ZERO => Ok(time),
        Some(_) | None => stat(&process),
    }
}

fn tasks(process: &Path) -> io::Result<Vec<PathBuf>> {
    fs::read_dir(process.join("task"))?
        .map(|entry| Ok(entry?.path()))
        .collect()
}

fn schedstat(task: &Path) -> Option<Duration> {
    let text = fs::read_to_string(task.join("schedstat")).ok()?;
    let nanoseconds = text.split_whitespace().next()?.parse().ok()?;
    Some(Duration::from_nanos(nanoseconds))
}

fn stat(process: &Path) -> io::Result<Duration> {
    let text = fs::read_to_string(process.join("stat"))?;
    ticks(&text)
        .map(|ticks| Duration::from_millis(ticks * 1000 / TICKS))
        .ok_or_else(|| io::Error::other(format!("{}/stat is not understood", process.display())))
}

/// `utime` + `stime`: the 14th and 15th fields of proc(5).
fn ticks(stat: &str) -> Option<u64> {
    // The second field is the name in parentheses, and may hold anything.
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some(user + system)
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use super::*;

    #[test]
    fn work_shows_and_sleep_does_not() {
        let own = std::process::id();
        let before = spent(own).unwrap();
        let until = Instant::now() + Duration::from_millis(100);
        while Instant::now() < until {}
        let after = spent(own).unwrap();
        assert!(
            after - before >= Duration::from_millis(20),
            "{:?}",
            after - before
        );
    }

    #[test]
    fn a_process_that_is_not_there_is_an_error() {
        assert!(spent(u32::MAX).is_err());
    }

    #[test]
    fn names_with_spaces_and_parentheses_do_not_shift_the_fields() {
        let stat = "7 (a b) c) S 1 7 7 0 -1 0 1 2 3 4 150 50 0 0 20 0 1 0 9";
        assert_eq!(ticks(stat), Some(200));
    }
}
