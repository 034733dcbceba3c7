//! The tests of this repository by name, for tables that say what shows something.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

/// The names of all functions that are run as tests: those marked so in any crate, and the
/// scenarios that are on a list of `scenarios.rs`, by which they become tests.
pub(crate) fn tests() -> BTreeSet<String> {
    let mut tests = BTreeSet::new();
    for room in ["storm-proto", "storm-socket", "storm-tokio", "storm-smol", "storm-std"] {
        read_all(&root().join(room), &mut |source| tests.extend(marked(source)));
    }
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    read_all(here, &mut |source| tests.extend(marked(source)));
    tests.extend(listed(&read(&here.join("tests/scenarios.rs"))));
    tests
}

pub(crate) fn read(path: &Path) -> String {
    fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// The functions behind `#[test]` and its likes.
fn marked(source: &str) -> Vec<String> {
    let mut names = Vec::new();
    let mut is_test = false;
    for line in source.lines().map(str::trim) {
        if line == "#[test]" || line.starts_with("#[tokio::test") {
            is_test = true;
        } else if is_test && !line.starts_with("#[") {
            let name = line.trim_start_matches("async ").strip_prefix("fn ");
            names.extend(name.and_then(|name| name.split('(').next()).map(String::from));
            is_test = false;
        }
    }
    names
}

/// The names that stand alone in a line, with a comma.
fn listed(source: &str) -> Vec<String> {
    let names = source.lines().filter_map(|line| line.trim().strip_suffix(','));
    let is_name =
        |name: &&str| name.bytes().all(|byte| byte == b'_' || byte.is_ascii_alphanumeric());
    names.filter(is_name).map(String::from).collect()
}

fn read_all(dir: &Path, each: &mut impl FnMut(&str)) {
    for entry in fs::read_dir(dir).expect("a directory of the repository") {
        let path = entry.expect("an entry").path();
        if path.is_dir() && !path.ends_with("target") && !path.ends_with("node_modules") {
            read_all(&path, each);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            each(&read(&path));
        }
    }
}
