//! Outcomes as a table for people.

use std::fmt::Write;
use std::time::Duration;

use crate::load::Outcome;

/// Rows of outcomes under one head.
#[derive(Debug)]
pub struct Table {
    text: String,
}

impl Table {
    /// A table with its head.
    pub fn new() -> Self {
        let text = format!(
            "{:<22} {:>9} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9} {:>10} {:>9}\n",
            "case",
            "req/s",
            "p50 ms",
            "p90 ms",
            "p99 ms",
            "p99.9 ms",
            "max ms",
            "errors",
            "MB/s",
            "CPU µs/req",
            "CPU s/GB"
        );
        Self { text }
    }

    /// Adds an outcome; its errors follow, a line a kind.
    pub fn row(&mut self, case: &str, outcome: &Outcome) {
        let tally = &outcome.tally;
        let seconds = outcome.window.as_secs_f64();
        let at = |quantile| milliseconds(tally.latency(quantile));
        let (a_request, a_gigabyte) = cost(outcome);
        let line = format!(
            "{case:<22} {:>9.0} {:>9} {:>9} {:>9} {:>9} {:>9} {:>8} {:>9.1} {:>10} {:>9}",
            tally.answered as f64 / seconds,
            at(0.5),
            at(0.9),
            at(0.99),
            at(0.999),
            at(1.0),
            tally.failed(),
            tally.bytes as f64 / seconds / 1e6,
            shown(a_request, 1),
            shown(a_gigabyte, 2),
        );
        self.text.push_str(&line);
        self.text.push('\n');
        for (kind, count) in &tally.errors {
            // Writing into a String cannot fail.
            let _ = writeln!(self.text, "  {count} × {kind}");
        }
    }

    /// The table as text.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

impl Default for Table {
    fn default() -> Self {
        Self::new()
    }
}

/// Microseconds a request and seconds a gigabyte of body, of the process watched.
///
/// Either is left out where there is nothing to divide by.
pub fn cost(outcome: &Outcome) -> (Option<f64>, Option<f64>) {
    let Some(cpu) = outcome.cpu else {
        return (None, None);
    };
    let over = |time: f64, count: u64| (count > 0).then(|| time / count as f64);
    (
        over(cpu.as_secs_f64() * 1e6, outcome.tally.answered),
        over(cpu.as_secs_f64() * 1e9, outcome.tally.bytes),
    )
}

fn shown(value: Option<f64>, digits: usize) -> String {
    value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
}

fn milliseconds(time: Duration) -> String {
    format!("{:.3}", time.as_secs_f64() * 1000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Tally;

    #[test]
    fn costs_are_those_of_the_process_watched() {
        let tally = Tally {
            answered: 1000,
            bytes: 2_000_000_000,
            ..Tally::default()
        };
        let window = Duration::from_secs(1);
        let cpu = Some(Duration::from_millis(20));
        let outcome = Outcome {
            tally,
            window,
            cpu,
            grown: None,
        };
        let (request, gigabyte) = cost(&outcome);
        assert!(request.is_some_and(|us| (us - 20.0).abs() < 1e-9));
        assert!(gigabyte.is_some_and(|s| (s - 0.01).abs() < 1e-9));
    }

    #[test]
    fn nothing_answered_costs_nothing_known() {
        let outcome = Outcome {
            tally: Tally::default(),
            window: Duration::from_secs(1),
            cpu: Some(Duration::from_secs(1)),
            grown: None,
        };
        assert_eq!(cost(&outcome), (None, None));
        let mut table = Table::new();
        table.row("empty", &outcome);
        assert!(
            table
                .as_str()
                .lines()
                .last()
                .is_some_and(|row| row.starts_with("empty"))
        );
    }
}
