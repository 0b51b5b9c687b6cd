use super::*;
use crate::telemetry::observation::{Observation, Start};
use crate::telemetry::specification::check;
use crate::verdict::Reason;
use queuebridge_proto::UnixMillis;
use serde_json::{Map, json};
use std::io::{self, Write};
use std::sync::Mutex;

#[derive(Clone, Default)]
struct Out(Arc<Mutex<Vec<u8>>>);

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

struct Bench {
    out: Out,
    emf: Arc<Emf>,
}

impl Bench {
    fn new() -> Self {
        let out = Out::default();
        let emf = Arc::new(Emf::to(out.clone(), "Queuebridge", true));
        Self { out, emf }
    }

    fn batch(&self, size: usize) -> BatchMetrics {
        let clock = Clock::simulated(UnixMillis(1_700_000_000_000));
        BatchMetrics::new(self.emf.clone(), clock, "jobs", size)
    }

    /// The documents so far, each checked against the specification.
    fn documents(&self) -> Vec<Map<String, Value>> {
        let bytes = std::mem::take(&mut *self.out.0.lock().unwrap());
        String::from_utf8(bytes).unwrap().lines().map(check).collect()
    }
}

fn opened(method: &str) -> Parts {
    Parts { method: Some(MethodName::parse(method).unwrap()), ..Parts::default() }
}

fn started(age: u64, attempt: u32) -> Option<Start> {
    Some(Start { age: Duration::from_millis(age), attempt })
}

fn answered(method: &str, code: Code, state: State) -> Option<Box<Parts>> {
    let end = Some((Duration::from_micros(2500), Some(code)));
    let start = started(1500, 1);
    Some(Box::new(Parts { start, end, finished: Some(state), ..opened(method) }))
}

fn redeliver(reason: Reason) -> Verdict {
    Verdict::redeliver(Duration::ZERO, reason)
}

/// The sets of dimensions for which a document counts a metric.
fn dimensions(document: &Map<String, Value>, metric: &str) -> Value {
    let directives = document["_aws"]["CloudWatchMetrics"].as_array().unwrap();
    let defines = |directive: &&Value| {
        let metrics = directive["Metrics"].as_array().unwrap();
        metrics.iter().any(|definition| definition["Name"] == metric)
    };
    directives.iter().find(defines).unwrap()["Dimensions"].clone()
}

#[tokio::test(start_paused = true)]
async fn a_batch_of_one_method_is_one_document() {
    let bench = Bench::new();
    let mut batch = bench.batch(4);
    batch.add(answered("/a.B/C", Code::Ok, State::Succeeded), &Verdict::Ack);
    batch.add(answered("/a.B/C", Code::NotFound, State::Failed), &Verdict::Ack);
    let end = Some((Duration::from_millis(7), Some(Code::Unavailable)));
    let retried = Parts { start: started(9000, 2), end, ..opened("/a.B/C") };
    batch.add(Some(retried.into()), &redeliver(Reason::Retry));
    let finished = Some(State::Failed);
    let parked = Parts { parked: Some("WORKER_LOST"), finished, ..opened("/a.B/C") };
    batch.add(Some(parked.into()), &Verdict::Ack);
    assert!(bench.documents().is_empty(), "it is written when the batch ends");
    drop(batch);
    let documents = bench.documents();
    let [document] = &*documents else { panic!("{documents:?}") };
    let mut expected = json!({
        "Queue": "jobs", "Method": "/a.B/C", "BatchSize": 4, "ColdStart": 1,
        "Jobs": 4, "Succeeded": 1, "Failed": 2, "Retries": 1,
        "Redelivered": 1, "Redelivered.RETRY": 1, "Parked": 1, "Parked.WORKER_LOST": 1,
        "Age": [1500, 1500, 9000], "Duration": [2.5, 2.5, 7.0],
    });
    expected["_aws"] = document["_aws"].clone();
    assert_eq!(Value::Object(document.clone()), expected);
    assert_eq!(document["_aws"]["Timestamp"], 1_700_000_000_000_u64);
    assert_eq!(dimensions(document, "BatchSize"), json!([["Queue"]]));
    assert_eq!(dimensions(document, "Redelivered.RETRY"), json!([["Queue"]]));
    assert_eq!(dimensions(document, "Jobs"), json!([["Queue"], ["Queue", "Method"]]));
    assert_eq!(dimensions(document, "Age"), json!([["Queue"], ["Queue", "Method"]]));
}

#[tokio::test(start_paused = true)]
async fn what_is_counted_twice_for_a_queue_is_not_written_twice() {
    let bench = Bench::new();
    let mut batch = bench.batch(3);
    batch.add(answered("/a.B/C", Code::Ok, State::Succeeded), &Verdict::Ack);
    batch.add(answered("/a.B/D", Code::Ok, State::Succeeded), &Verdict::Ack);
    batch.add(Some(Box::default()), &redeliver(Reason::OutOfTime));
    batch.add(None, &redeliver(Reason::OutOfTime));
    drop(batch);
    let documents = bench.documents();
    let methods: Vec<_> = documents.iter().map(|document| document.get("Method")).collect();
    assert_eq!(methods, [Some(&json!("/a.B/C")), Some(&json!("/a.B/D")), None]);
    for metric in ["BatchSize", "ColdStart", "Unopened", "Redelivered.OUT_OF_TIME"] {
        assert!(documents[0].contains_key(metric), "{metric}");
        assert!(!documents[1..].iter().any(|document| document.contains_key(metric)), "{metric}");
    }
    assert_eq!(documents[2]["Redelivered"], 2);
    assert_eq!(documents[0]["Unopened"], 1);
}

#[tokio::test(start_paused = true)]
async fn a_method_that_no_handler_has_answered_has_no_metrics_of_its_own() {
    let bench = Bench::new();
    let mut batch = bench.batch(2);
    batch.add(answered("/made.Up/Name", Code::Unimplemented, State::Failed), &Verdict::Ack);
    let expired = Parts { finished: Some(State::Expired), ..opened("/a.B/C") };
    batch.add(Some(expired.into()), &Verdict::Ack);
    drop(batch);
    let documents = bench.documents();
    let [document] = &*documents else { panic!("{documents:?}") };
    assert!(!document.contains_key("Method"));
    let counted = (&document["Jobs"], &document["Failed"], &document["Expired"]);
    assert_eq!(counted, (&json!(2), &json!(1), &json!(1)));

    // Once it was answered, everything of it counts.
    let mut batch = bench.batch(1);
    batch.add(answered("/a.B/C", Code::Ok, State::Succeeded), &Verdict::Ack);
    drop(batch);
    let mut batch = bench.batch(1);
    let expired = Parts { finished: Some(State::Expired), ..opened("/a.B/C") };
    batch.add(Some(expired.into()), &Verdict::Ack);
    drop(batch);
    let documents = bench.documents();
    assert!(documents.iter().all(|document| document["Method"] == "/a.B/C"), "{documents:?}");
    assert!(!documents.iter().any(|document| document.contains_key("ColdStart")), "only one");
}

#[tokio::test(start_paused = true)]
async fn more_values_than_a_document_holds_go_into_further_ones() {
    let bench = Bench::new();
    let mut batch = bench.batch(250);
    for _ in 0..250 {
        batch.add(answered("/a.B/C", Code::Ok, State::Succeeded), &Verdict::Ack);
    }
    drop(batch);
    let documents = bench.documents();
    let lengths = |name: &str| -> Vec<usize> {
        documents.iter().map(|document| document[name].as_array().unwrap().len()).collect()
    };
    assert_eq!((lengths("Age"), lengths("Duration")), (vec![100, 100, 50], vec![100, 100, 50]));
    assert_eq!(documents[0]["Jobs"], 250);
    assert!(!documents[1..].iter().any(|document| document.contains_key("Jobs")));
}

#[tokio::test(start_paused = true)]
async fn dimensions_are_never_empty_nor_too_long() {
    let bench = Bench::new();
    for queue in ["", &"é".repeat(3000)] {
        let clock = Clock::simulated(UnixMillis(0));
        drop(BatchMetrics::new(bench.emf.clone(), clock, queue, 0));
    }
    assert_eq!(bench.documents().len(), 2);
}

#[test]
fn an_observation_that_is_off_keeps_nothing() {
    for on in [false, true] {
        let seen = Observation::new(on);
        seen.started(Duration::ZERO, 1);
        seen.parked("WORKER_LOST");
        seen.finished(State::Failed);
        assert_eq!(seen.into_parts().and_then(|parts| parts.finished).is_some(), on);
    }
}
