//! All that the code under test tells in one thread: spans and events, and metrics.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::{Arc, Mutex};

use metrics::{
    Counter, CounterFn, Gauge, GaugeFn, Histogram, HistogramFn, Key, KeyName, Metadata, Recorder,
    SharedString, Unit,
};
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::Registry;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};

/// Fields by name, as text.
pub(crate) type Fields = BTreeMap<String, String>;

#[derive(Clone, Debug)]
pub(crate) struct Span {
    id: u64,
    pub(crate) name: &'static str,
    pub(crate) fields: Fields,
    pub(crate) closed: bool,
}

#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) target: &'static str,
    pub(crate) level: Level,
    pub(crate) fields: Fields,
}

#[derive(Debug, Default)]
struct All {
    spans: Vec<Span>,
    events: Vec<Told>,
    /// By name and labels: `name{label=value,…}`.
    numbers: BTreeMap<String, f64>,
    samples: BTreeMap<String, Vec<f64>>,
}

/// Collects what this thread tells until it is dropped.
pub(crate) struct Capture {
    all: Shared,
    _subscriber: tracing::subscriber::DefaultGuard,
    _recorder: metrics::LocalRecorderGuard<'static>,
}

#[derive(Clone, Debug, Default)]
struct Shared(Arc<Mutex<All>>);

impl Capture {
    pub(crate) fn start() -> Self {
        let all = Shared::default();
        let subscriber = Registry::default().with(all.clone());
        // It lives as long as the process, as a recorder does.
        let recorder: &'static Shared = Box::leak(Box::new(all.clone()));
        Self {
            all,
            _subscriber: tracing::subscriber::set_default(subscriber),
            _recorder: metrics::set_default_local_recorder(recorder),
        }
    }

    /// Spans of this name and `rpc.method`.
    pub(crate) fn spans(&self, name: &str, method: &str) -> Vec<Span> {
        let wanted = |span: &&Span| {
            span.name == name && span.fields.get("rpc.method").is_some_and(|m| m == method)
        };
        let all = self.all.0.lock().unwrap();
        all.spans.iter().filter(wanted).cloned().collect()
    }

    /// Events of this target with this message.
    pub(crate) fn events(&self, target: &str, message: &str) -> Vec<Told> {
        let wanted = |told: &&Told| {
            told.target == target && told.fields.get("message").is_some_and(|m| m == message)
        };
        let all = self.all.0.lock().unwrap();
        all.events.iter().filter(wanted).cloned().collect()
    }

    /// A counter or gauge; 0 if there is none.
    pub(crate) fn number(&self, key: &str) -> f64 {
        let all = self.all.0.lock().unwrap();
        all.numbers.get(key).copied().unwrap_or_default()
    }

    /// A histogram.
    pub(crate) fn samples(&self, key: &str) -> Vec<f64> {
        let all = self.all.0.lock().unwrap();
        all.samples.get(key).cloned().unwrap_or_default()
    }

    /// Every metric there is, with its labels.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let all = self.all.0.lock().unwrap();
        all.numbers
            .keys()
            .chain(all.samples.keys())
            .cloned()
            .collect()
    }
}

impl Told {
    pub(crate) fn field(&self, name: &str) -> &str {
        self.fields.get(name).map_or("", String::as_str)
    }
}

/// Writes fields down.
struct Writer<'a>(&'a mut Fields);

impl Visit for Writer<'_> {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.0.insert(field.name().to_owned(), format!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.0.insert(field.name().to_owned(), value.to_owned());
    }
}

impl<S: Subscriber> Layer<S> for Shared {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, _: Context<'_, S>) {
        let mut fields = Fields::new();
        attributes.record(&mut Writer(&mut fields));
        self.0.lock().unwrap().spans.push(Span {
            id: id.into_u64(),
            name: attributes.metadata().name(),
            fields,
            closed: false,
        });
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, _: Context<'_, S>) {
        if let Some(span) = self.0.lock().unwrap().live(id) {
            values.record(&mut Writer(&mut span.fields));
        }
    }

    fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
        let mut fields = Fields::new();
        event.record(&mut Writer(&mut fields));
        self.0.lock().unwrap().events.push(Told {
            target: event.metadata().target(),
            level: *event.metadata().level(),
            fields,
        });
    }

    fn on_close(&self, id: Id, _: Context<'_, S>) {
        if let Some(span) = self.0.lock().unwrap().live(&id) {
            span.closed = true;
        }
    }
}

impl All {
    /// Ids are used again when their spans are closed.
    fn live(&mut self, id: &Id) -> Option<&mut Span> {
        let id = id.into_u64();
        self.spans
            .iter_mut()
            .rev()
            .find(|span| span.id == id && !span.closed)
    }
}

/// One metric.
struct Meter {
    key: String,
    all: Shared,
}

impl Meter {
    fn new(key: &Key, all: &Shared) -> Arc<Self> {
        let labels = key
            .labels()
            .map(|label| format!("{}={}", label.key(), label.value()));
        let labels = labels.collect::<Vec<_>>().join(",");
        let key = format!("{}{{{labels}}}", key.name());
        Arc::new(Self {
            key,
            all: all.clone(),
        })
    }

    fn change(&self, change: impl FnOnce(&mut f64)) {
        change(
            self.all
                .0
                .lock()
                .unwrap()
                .numbers
                .entry(self.key.clone())
                .or_default(),
        );
    }
}

impl CounterFn for Meter {
    fn increment(&self, value: u64) {
        self.change(|number| *number += value as f64);
    }

    fn absolute(&self, value: u64) {
        self.change(|number| *number = value as f64);
    }
}

impl GaugeFn for Meter {
    fn increment(&self, value: f64) {
        self.change(|number| *number += value);
    }

    fn decrement(&self, value: f64) {
        self.change(|number| *number -= value);
    }

    fn set(&self, value: f64) {
        self.change(|number| *number = value);
    }
}

impl HistogramFn for Meter {
    fn record(&self, value: f64) {
        self.all
            .0
            .lock()
            .unwrap()
            .samples
            .entry(self.key.clone())
            .or_default()
            .push(value);
    }
}

impl Recorder for Shared {
    fn describe_counter(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_gauge(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}
    fn describe_histogram(&self, _: KeyName, _: Option<Unit>, _: SharedString) {}

    fn register_counter(&self, key: &Key, _: &Metadata<'_>) -> Counter {
        Counter::from_arc(Meter::new(key, self))
    }

    fn register_gauge(&self, key: &Key, _: &Metadata<'_>) -> Gauge {
        Gauge::from_arc(Meter::new(key, self))
    }

    fn register_histogram(&self, key: &Key, _: &Metadata<'_>) -> Histogram {
        Histogram::from_arc(Meter::new(key, self))
    }
}
