//! What listens: a subscriber for `tracing` and a recorder for `metrics`, both of this thread.

use std::collections::BTreeMap;
use std::fmt::{Debug, Write};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Metadata, Recorder, SharedString, Unit};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Subscriber};
use tracing_core::span::Current;

/// Writes down all that is told, of every level and target.
#[derive(Clone, Default)]
pub(crate) struct Witness(Arc<Mutex<Seen>>);

#[derive(Default)]
struct Seen {
    /// `LEVEL message field=value ... [span field=value ...]`, payload and all.
    lines: Vec<String>,
    spans: Vec<(&'static tracing::Metadata<'static>, String)>,
    entered: Vec<Id>,
}

impl Witness {
    pub(crate) fn lines(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap().lines)
    }

    /// The events alone, without fields and spans.
    pub(crate) fn events(&self) -> Vec<String> {
        let shorten = |line: String| line.split(" |").next().unwrap().to_owned();
        self.lines().into_iter().map(shorten).collect()
    }

    /// All that was ever told, spans as well.
    pub(crate) fn everything(&self) -> String {
        let seen = self.0.lock().unwrap();
        let spans = seen.spans.iter().map(|(_, fields)| fields.as_str());
        seen.lines.iter().map(String::as_str).chain(spans).collect::<Vec<_>>().join("\n")
    }
}

/// Fields as text; the message goes first.
#[derive(Default)]
struct Fields {
    message: String,
    rest: String,
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        match field.name() {
            "message" => write!(self.message, "{value:?}").unwrap(),
            name => write!(self.rest, " {name}={value:?}").unwrap(),
        }
    }
}

impl Subscriber for Witness {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut fields = Fields::default();
        span.record(&mut fields);
        let mut seen = self.0.lock().unwrap();
        seen.spans.push((span.metadata(), fields.rest));
        Id::from_u64(seen.spans.len() as u64)
    }

    fn record(&self, span: &Id, values: &Record<'_>) {
        let mut fields = Fields::default();
        values.record(&mut fields);
        self.0.lock().unwrap().spans[span.into_u64() as usize - 1].1 += &fields.rest;
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        let mut fields = Fields::default();
        event.record(&mut fields);
        let level = event.metadata().level();
        let mut line = format!("{level} {} |{}", fields.message, fields.rest);
        let mut seen = self.0.lock().unwrap();
        if let Some(span) = seen.entered.last() {
            let (metadata, fields) = &seen.spans[span.into_u64() as usize - 1];
            write!(line, " [{}{fields}]", metadata.name()).unwrap();
        }
        seen.lines.push(line);
    }

    fn enter(&self, span: &Id) {
        self.0.lock().unwrap().entered.push(span.clone());
    }

    fn exit(&self, _: &Id) {
        self.0.lock().unwrap().entered.pop();
    }

    fn current_span(&self) -> Current {
        let seen = self.0.lock().unwrap();
        match seen.entered.last() {
            Some(span) => Current::new(span.clone(), seen.spans[span.into_u64() as usize - 1].0),
            None => Current::none(),
        }
    }
}

/// Keeps what is published, by name and labels.
#[derive(Clone, Default)]
pub(crate) struct Ledger(Arc<Mutex<BTreeMap<String, Kept>>>);

#[derive(Clone)]
enum Kept {
    Counter(Arc<AtomicU64>),
    Gauge(Arc<AtomicU64>),
    Histogram(Arc<Durations>),
}

/// What was recorded.
#[derive(Default)]
pub(crate) struct Durations(Mutex<Vec<f64>>);

impl metrics::HistogramFn for Durations {
    fn record(&self, value: f64) {
        self.0.lock().unwrap().push(value);
    }
}

impl Ledger {
    /// `name{labels} value`, but for zeros.
    pub(crate) fn lines(&self) -> Vec<String> {
        let kept = self.0.lock().unwrap();
        let line = |(name, kept): (&String, &Kept)| match kept {
            Kept::Counter(count) => match count.load(Ordering::Relaxed) {
                0 => None,
                count => Some(format!("{name} {count}")),
            },
            Kept::Gauge(bits) => {
                Some(format!("{name} {}", f64::from_bits(bits.load(Ordering::Relaxed))))
            }
            Kept::Histogram(durations) => Some(format!("{name} {:?}", durations.0.lock().unwrap())),
        };
        kept.iter().filter_map(line).collect()
    }

    /// Every name that was used, with its kind.
    pub(crate) fn names(&self) -> BTreeMap<String, &'static str> {
        let kept = self.0.lock().unwrap();
        let name = |(name, kept): (&String, &Kept)| {
            let kind = match kept {
                Kept::Counter(_) => "counter",
                Kept::Gauge(_) => "gauge",
                Kept::Histogram(_) => "histogram",
            };
            (name.split('{').next().unwrap().to_owned(), kind)
        };
        kept.iter().map(name).collect()
    }

    fn keep(&self, key: &Key, new: impl FnOnce() -> Kept) -> Kept {
        let labels: Vec<_> = key.labels().map(|l| format!("{}={}", l.key(), l.value())).collect();
        let name = format!("{}{{{}}}", key.name(), labels.join(","));
        self.0.lock().unwrap().entry(name).or_insert_with(new).clone()
    }
}

impl Recorder for Ledger {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        match self.keep(key, || Kept::Counter(Arc::default())) {
            Kept::Counter(counter) => Counter::from_arc(counter),
            _ => panic!("{key} is no counter"),
        }
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        match self.keep(key, || Kept::Gauge(Arc::default())) {
            Kept::Gauge(gauge) => Gauge::from_arc(gauge),
            _ => panic!("{key} is no gauge"),
        }
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        match self.keep(key, || Kept::Histogram(Arc::default())) {
            Kept::Histogram(durations) => Histogram::from_arc(durations),
            _ => panic!("{key} is no histogram"),
        }
    }
}
