//! `requirements.tsv` names what shows each requirement: every test in it exists, and every
//! test that is named after a requirement is in it.
#![forbid(unsafe_code)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

const COLUMNS: &str = "id\tsection\tlevel\trequirement\ttest";

/// How many requirements each family has: WebSocket, its compression, WebSocket over
/// HTTP/2, HTTP (fields, messages, status codes), TLS.
const FAMILIES: [(char, usize); 7] =
    [('W', 191), ('D', 61), ('H', 12), ('P', 9), ('Q', 15), ('R', 2), ('T', 13)];

struct Row<'t> {
    id: &'t str,
    /// What shows it; none if it is not due.
    tests: Vec<&'t str>,
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn table() -> String {
    read(&root().join("tests/requirements.tsv"))
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(COLUMNS));
    lines.map(row).collect()
}

fn row(line: &str) -> Row<'_> {
    let columns: Vec<_> = line.split('\t').collect();
    let [id, section, level, requirement, test] = columns[..] else {
        panic!("five columns: {line}");
    };
    for column in [id, section, level, requirement, test] {
        assert!(column.is_ascii() && !column.is_empty() && column.trim() == column, "{line}");
    }
    let tests = match test.strip_prefix("later: ") {
        Some(reason) => {
            assert!(!reason.is_empty(), "{id}: why later");
            Vec::new()
        }
        None => test.split(", ").collect(),
    };
    Row { id, tests }
}

/// The names of the tests in a source file; of the live checks in one of Python.
fn tests_in(source: &str) -> BTreeSet<&str> {
    let mut lines = source.lines().map(str::trim);
    let mut names = BTreeSet::new();
    while let Some(line) = lines.next() {
        if !["#[test]", "@check()"].contains(&line) {
            continue;
        }
        let line = lines.next().unwrap_or_default();
        let line = line.strip_prefix("async ").unwrap_or(line);
        let name = line.strip_prefix("fn ").or(line.strip_prefix("def ")).expect("a function");
        names.insert(name.split('(').next().unwrap_or_default());
    }
    names
}

#[test]
fn every_requirement_is_there_once() {
    let table = table();
    let mut seen = BTreeSet::new();
    let mut families = BTreeMap::new();
    for Row { id, .. } in rows(&table) {
        assert!(seen.insert(id), "{id} twice");
        *families.entry(id.chars().next()).or_insert(0) += 1;
    }
    let expected = FAMILIES.map(|(family, count)| (Some(family), count));
    assert_eq!(families, BTreeMap::from(expected));
}

#[test]
fn every_test_that_is_named_exists() {
    let table = table();
    let mut sources = BTreeMap::new();
    let (mut shown, mut later) = (0, 0);
    for Row { id, tests } in rows(&table) {
        if tests.is_empty() {
            later += 1;
            continue;
        }
        shown += 1;
        for test in tests {
            let (path, name) = test.split_once("::").expect("path::name");
            let source = sources.entry(path).or_insert_with(|| read(&root().join(path)));
            assert!(tests_in(source).contains(name), "{id}: no test {name} in {path}");
        }
    }
    println!("{shown} requirements are shown by tests, {later} are not due yet");
}

#[test]
fn every_test_that_is_named_after_a_requirement_is_in_the_table() {
    let table = table();
    let rows = rows(&table);
    let mut count = 0;
    for path in ["tests/rfc6455", "tests/rfc7692"].into_iter().flat_map(files) {
        for name in tests_in(&read(&root().join(&path))) {
            let full = format!("{path}::{name}");
            let owner = rows.iter().find(|row| {
                let id = row.id.to_lowercase().replace(['.', '-'], "_");
                name.strip_prefix(&id[..]).is_some_and(|claim| claim.starts_with('_'))
                    && row.tests.contains(&&full[..])
            });
            assert!(owner.is_some(), "{full} is not in the row that it is named after");
            count += 1;
        }
    }
    assert!(count > 200, "{count} tests were found");
}

/// The paths of the files in a directory.
fn files(directory: &str) -> Vec<String> {
    let entries = fs::read_dir(root().join(directory)).expect("the directory of the tests");
    let name = |entry: fs::DirEntry| entry.file_name().into_string().expect("a name");
    entries.map(|entry| format!("{directory}/{}", name(entry.expect("an entry")))).collect()
}
