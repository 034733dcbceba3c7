//! From the figures of all rounds to a table and to JSON.

use serde_json::{Value, json};

use crate::cli::{Kind, Scenario, ServerSpec};

/// The figures of one turn, by name.
pub type Sample = Vec<(&'static str, f64)>;

/// One server and its turns, round by round.
pub struct Results<'a> {
    pub spec: &'a ServerSpec,
    pub samples: Vec<Sample>,
}

impl Results<'_> {
    fn values(&self, name: &str) -> Vec<f64> {
        self.samples
            .iter()
            .flatten()
            .filter(|(key, _)| *key == name)
            .map(|(_, value)| *value)
            .collect()
    }

    /// Divided round by round: what slowed the machine for a while slowed both, and cancels out.
    fn ratios(&self, first: &Self, name: &str) -> Vec<f64> {
        self.values(name).iter().zip(first.values(name)).map(|(value, base)| value / base).collect()
    }
}

/// How a column shows a figure.
#[derive(Clone, Copy, PartialEq)]
enum Show {
    /// The median.
    Median,
    /// Half the range over the rounds, in percent of the median.
    Spread,
    /// The median of the ratios to the first server, and half their range.
    Ratio,
}

type Column = (&'static str, &'static str, Show);

fn columns(kind: Kind) -> Vec<Column> {
    use Show::{Median, Ratio, Spread};
    if kind == Kind::Idle {
        return vec![
            ("base RSS KiB", "base_kib", Median),
            ("B/conn idle", "idle_bytes", Median),
            ("+-%", "idle_bytes", Spread),
            ("x first", "idle_bytes", Ratio),
            ("B/conn after one echo", "used_bytes", Median),
            ("x first", "used_bytes", Ratio),
            ("CPU us/accept", "accept_us", Median),
        ];
    }
    let mut columns = vec![
        ("msg/s", "messages_per_second", Median),
        ("x first", "messages_per_second", Ratio),
        ("CPU ns/msg", "cpu_ns", Median),
        ("+-%", "cpu_ns", Spread),
        ("x first", "cpu_ns", Ratio),
        ("user", "user_ns", Median),
        ("sys", "system_ns", Median),
        ("busy %", "busy_percent", Median),
        ("load ns/msg", "load_cpu_ns", Median),
    ];
    match kind {
        Kind::Pingpong => {
            columns.extend([
                ("p50 us", "p50_us", Median),
                ("p99 us", "p99_us", Median),
                ("p99.9 us", "p999_us", Median),
            ]);
        }
        Kind::Large => columns.extend([
            ("server+load ns/msg", "both_cpu_ns", Median),
            ("x first", "both_cpu_ns", Ratio),
            ("MiB/s", "mib_per_second", Median),
        ]),
        _ => columns.push(("msg/read", "messages_per_read", Median)),
    }
    columns
}

/// The scenario's markdown table.
pub fn table(scenario: &Scenario, results: &[Results<'_>]) -> String {
    let columns = columns(scenario.kind);
    let titles: Vec<&str> = columns.iter().map(|(title, ..)| *title).collect();
    let mut text =
        format!("| server | {} |\n|---|{}\n", titles.join(" | "), "---:|".repeat(columns.len()));
    for result in results {
        let cells: Vec<String> =
            columns.iter().map(|column| cell(*column, result, &results[0])).collect();
        text += &format!("| {} | {} |\n", result.spec.name, cells.join(" | "));
    }
    text
}

fn cell((_, name, show): Column, result: &Results<'_>, first: &Results<'_>) -> String {
    let values = result.values(name);
    match show {
        Show::Median => number(median(&values)),
        Show::Spread => format!("{:.0}", 100.0 * half_range(&values) / median(&values)),
        Show::Ratio => {
            let ratios = result.ratios(first, name);
            format!("{:.2} +-{:.2}", median(&ratios), half_range(&ratios))
        }
    }
}

/// Everything that was measured, and the medians and ratios of it.
pub fn json(scenario: &Scenario, results: &[Results<'_>]) -> Value {
    let servers: Vec<Value> = results
        .iter()
        .map(|result| {
            let figures = result.samples[0].iter().map(|(name, _)| {
                let (values, ratios) = (result.values(name), result.ratios(&results[0], name));
                let figure = json!({
                    "median": median(&values),
                    "half_range": half_range(&values),
                    "ratio_to_first": median(&ratios),
                    "ratio_half_range": half_range(&ratios),
                    "rounds": values,
                });
                ((*name).to_owned(), figure)
            });
            json!({
                "name": result.spec.name,
                "protocol": result.spec.protocol.scheme(),
                "command": result.spec.command,
                "figures": Value::Object(figures.collect()),
            })
        })
        .collect();
    json!({
        "scenario": scenario.name,
        "connections": scenario.connections,
        "window": scenario.window,
        "message_bytes": scenario.message_bytes,
        "servers": servers,
    })
}

fn median(values: &[f64]) -> f64 {
    let mut sorted = values.to_vec();
    sorted.sort_by(f64::total_cmp);
    let middle = sorted.len() / 2;
    if sorted.len() % 2 == 1 { sorted[middle] } else { (sorted[middle - 1] + sorted[middle]) / 2.0 }
}

fn half_range(values: &[f64]) -> f64 {
    let least = values.iter().copied().fold(f64::INFINITY, f64::min);
    let most = values.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    (most - least) / 2.0
}

/// Whole numbers in groups of three digits; one decimal below a hundred.
fn number(value: f64) -> String {
    if value.abs() < 99.95 {
        return format!("{value:.1}");
    }
    let digits = format!("{:.0}", value.abs());
    let mut text = String::from(if value < 0.0 { "-" } else { "" });
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index) % 3 == 0 {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn medians_and_ranges() {
        assert_eq!(median(&[3.0, 1.0, 2.0]), 2.0);
        assert_eq!(median(&[4.0, 1.0, 2.0, 3.0]), 2.5);
        assert_eq!(half_range(&[4.0, 1.0, 2.0]), 1.5);
    }

    #[test]
    fn numbers_are_grouped() {
        let shown: Vec<String> =
            [0.04, 99.94, 100.0, 1000.4, 48_230_489.0, -1234.0].map(number).into();
        assert_eq!(shown, ["0.0", "99.9", "100", "1,000", "48,230,489", "-1,234"]);
    }
}
