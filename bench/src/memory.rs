//! Memory of a process, as the kernel counts it.

use std::{fs, io};

/// Bytes of `pid` that are in memory.
pub fn resident(pid: u32) -> io::Result<u64> {
    let text = fs::read_to_string(format!("/proc/{pid}/status"))?;
    kibibytes(&text)
        .map(|kib| kib * 1024)
        .ok_or_else(|| io::Error::other(format!("/proc/{pid}/status is not understood")))
}

fn kibibytes(status: &str) -> Option<u64> {
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    line.split_whitespace().nth(1)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_taken_shows() {
        let before = resident(std::process::id()).unwrap();
        let bytes = vec![1_u8; 32 << 20];
        let after = resident(std::process::id()).unwrap();
        assert!(after - before > 30 << 20, "{before} {after} {}", bytes[7]);
    }
}
