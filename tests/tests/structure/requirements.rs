//! docs/http.md promises: each file and each test that its tables name exists, and
//! there is no row without a test unless it says why it is not kept.

use std::fs;
use std::path::PathBuf;

use crate::workspace;

/// Words that begin a cell of what is not kept.
const NOT_KEPT: &str = "not kept:";

#[derive(Debug)]
struct Row {
    line: usize,
    cells: Vec<String>,
}

impl Row {
    /// The last cells of every table: where it is kept, and what shows it.
    fn kept(&self) -> &str {
        &self.cells[self.cells.len() - 2]
    }

    fn shown(&self) -> &str {
        &self.cells[self.cells.len() - 1]
    }
}

#[test]
fn every_file_and_test_of_the_requirements_exists() {
    let text = fs::read_to_string(workspace::root().join("docs/http.md")).expect("the page");
    let rows = rows(&text);
    assert!(rows.len() > 80, "only {} rows were found", rows.len());
    let wrong: Vec<String> = rows.iter().flat_map(complaints).collect();
    assert!(wrong.is_empty(), "docs/http.md:\n{}", wrong.join("\n"));
}

#[test]
fn a_row_that_promises_nothing_or_too_much_is_seen() {
    let text = "\
## The requirements
| requirement | section | kept in | shown by |
| --- | --- | --- | --- |
| good | RFC | `session/mod.rs` | `structure/requirements::a_row_that_promises_nothing_or_too_much_is_seen` |
| also | RFC | not kept: a reason | |
| no reason | RFC | not kept: | |
| no test | RFC | `session/mod.rs` | |
| no file | RFC | `nowhere.rs` | `sizes::content_lengths_are_one_number` |
| no such test | RFC | `session/mod.rs` | `requests::nothing`, `test_semantics.py::nothing` |
";
    let found: Vec<String> = rows(text).iter().flat_map(complaints).collect();
    let lines: Vec<&str> = found.iter().filter_map(|c| c.split(':').next()).collect();
    assert_eq!(lines, ["6", "7", "8", "9", "9"], "{found:#?}");
}

/// Rows of the tables behind the heading of the requirements.
fn rows(text: &str) -> Vec<Row> {
    let lines = text.lines().enumerate();
    let behind = lines.skip_while(|(_, line)| *line != "## The requirements");
    let mut in_table = false;
    behind
        .filter_map(|(at, line)| {
            // The first line of a table is its head.
            let is_row = line.starts_with('|') && std::mem::replace(&mut in_table, true);
            in_table = line.starts_with('|');
            let cells = line
                .trim_matches('|')
                .split(" |")
                .map(|c| c.trim().to_owned());
            let row = Row {
                line: at + 1,
                cells: cells.collect(),
            };
            (is_row && !line.starts_with("| ---")).then_some(row)
        })
        .collect()
}

fn complaints(row: &Row) -> Vec<String> {
    let mut wrong = Vec::new();
    let mut complain = |what: String| wrong.push(format!("{}: {what}", row.line));
    if let Some(reason) = row.kept().strip_prefix(NOT_KEPT) {
        if reason.trim().is_empty() {
            complain("not kept, and no reason".to_owned());
        }
    } else {
        if quoted(row.kept()).is_empty() {
            complain("kept nowhere".to_owned());
        }
        if quoted(row.shown()).is_empty() {
            complain("shown by no test".to_owned());
        }
        for file in quoted(row.kept()).iter().filter(|n| n.ends_with(".rs")) {
            if !workspace::root()
                .join("spooky-core/src")
                .join(file)
                .exists()
            {
                complain(format!("no file spooky-core/src/{file}"));
            }
        }
    }
    for test in quoted(row.shown()) {
        if !exists(test) {
            complain(format!("no test {test}"));
        }
    }
    wrong
}

/// What stands between back quotes.
fn quoted(cell: &str) -> Vec<&str> {
    cell.split('`').skip(1).step_by(2).collect()
}

/// Whether there is a test `file::name`.
fn exists(test: &str) -> bool {
    let Some((file, name)) = test.split_once("::") else {
        return false;
    };
    let (folders, start): (&[&str], String) = match file.strip_suffix(".py") {
        Some(_) => (&["tests/interop"], format!("def {name}(")),
        None => (
            &["tests/tests/conformance", "tests/tests"],
            format!("#[test]\nfn {name}()"),
        ),
    };
    let path = |folder: &&str| -> PathBuf {
        let path = workspace::root().join(folder).join(file);
        if file.ends_with(".py") {
            path
        } else {
            path.with_extension("rs")
        }
    };
    let holds = |path: PathBuf| fs::read_to_string(path).is_ok_and(|text| text.contains(&start));
    folders.iter().map(path).any(holds)
}
