//! `acceptance.tsv` says which behaviours of StormSocket are kept, what nobody tested there, and
//! which test shows each: every test in it exists, and what is not kept has a reason.

mod support;

use std::collections::BTreeSet;
use std::path::Path;

const COLUMNS: &str = "id\tbehaviour\tshown by";

/// How many behaviours its tests show (T), and how many they leave open (G).
const SHOWN: usize = 208;
const OPEN: usize = 20;

struct Row<'t> {
    id: &'t str,
    behaviour: &'t str,
    shown_by: &'t str,
}

impl Row<'_> {
    /// Why the behaviour is not there, if that is deliberate.
    fn reason(&self) -> Option<&str> {
        self.shown_by.strip_prefix("- ")
    }
}

fn table() -> String {
    support::read(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/acceptance.tsv"))
}

fn rows(table: &str) -> Vec<Row<'_>> {
    let mut lines = table.lines();
    assert_eq!(lines.next(), Some(COLUMNS));
    lines
        .map(|line| {
            let columns: Vec<_> = line.split('\t').collect();
            let [id, behaviour, shown_by] = columns[..] else { panic!("three columns: {line}") };
            Row { id, behaviour, shown_by }
        })
        .collect()
}

#[test]
fn every_behaviour_is_there_once_and_in_order() {
    let table = table();
    let ids = (1..=SHOWN).map(|number| format!("T-{number:03}"));
    let ids = ids.chain((1..=OPEN).map(|number| format!("G-{number:02}")));
    assert!(rows(&table).iter().map(|row| row.id).eq(ids));
    for Row { id, behaviour, .. } in rows(&table) {
        assert!(!behaviour.is_empty() && behaviour.trim() == behaviour, "{id}");
        assert_eq!(behaviour, behaviour.to_ascii_lowercase(), "{id}");
    }
}

#[test]
fn every_behaviour_is_shown_by_tests_that_exist_or_has_a_reason_to_be_absent() {
    let (table, tests) = (table(), support::tests());
    let mut missing = Vec::new();
    for row in rows(&table) {
        let id = row.id;
        if let Some(reason) = row.reason() {
            assert!(reason.split(' ').count() > 3, "{id}: {reason} is no reason");
            continue;
        }
        let names: Vec<_> = row.shown_by.split(' ').collect();
        assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len(), "{id}: twice");
        let absent = names.iter().filter(|name| !tests.contains(**name));
        missing.extend(absent.map(|name| format!("{id}: no test {name}")));
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}
