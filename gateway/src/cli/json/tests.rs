use super::*;
use prost_types::Timestamp;
use queuebridge_proto::error::{invalid_field, reason, retry_after};
use queuebridge_proto::outcome::to_rpc_status;
use queuebridge_proto::v1::{Branch, Progress, Response, State};
use std::time::Duration;

fn at(seconds: i64, nanos: i32) -> Option<Timestamp> {
    Some(Timestamp { seconds, nanos })
}

#[test]
fn a_full_job_has_every_field_in_its_prescribed_form() {
    let full = Job {
        id: "abc".into(),
        method: "/a.B/C".into(),
        state: State::Succeeded.into(),
        submit_time: at(1_700_000_000, 0),
        start_time: at(1_700_000_000, 500_000_000),
        complete_time: at(1_700_000_001, 1_000),
        expire_time: at(1_700_003_600, 1),
        purge_time: at(0, 0),
        result_retention: Some(prost_types::Duration { seconds: 86_400, nanos: 0 }),
        attempt: 2,
        progress: Some(Progress {
            fraction: 0.5,
            message: "half".into(),
            update_time: at(1_700_000_000, 0),
            partial_result: vec![0, 1].into(),
            ..Progress::default()
        }),
        cancel_requested: true,
        initial_metadata: vec![Metadatum {
            key: "k".into(),
            value: Some(metadatum::Value::Ascii(String::new())),
        }],
        trailing_metadata: vec![Metadatum {
            key: "k-bin".into(),
            value: Some(metadatum::Value::Binary(vec![255].into())),
        }],
        outcome: Some(Outcome::Response(Response {
            message: vec![0, 1, 254].into(),
            r#type: "a.Reply".into(),
            ..Response::default()
        })),
        retry_of: "abb".into(),
        stream: Some(Stream { messages: 3, size: 5_000_000_000 }),
        gather: Some(Box::new(Gather {
            rule: Some(GatherRule {
                need: 1,
                answer: Some(Answer::Primary("a".into())),
                ..GatherRule::default()
            }),
            total: 1,
            succeeded: 1,
            failed: 0,
            branches: vec![Branch {
                name: "a".into(),
                job: Some(Job { id: "abd".into(), ..Job::default() }),
                late: true,
            }],
        })),
    };
    assert_eq!(
        job(&full),
        json!({
            "id": "abc",
            "method": "/a.B/C",
            "state": "STATE_SUCCEEDED",
            "submitTime": "2023-11-14T22:13:20Z",
            "startTime": "2023-11-14T22:13:20.500Z",
            "completeTime": "2023-11-14T22:13:21.000001Z",
            "expireTime": "2023-11-14T23:13:20.000000001Z",
            "purgeTime": "1970-01-01T00:00:00Z",
            "resultRetention": "86400s",
            "attempt": 2,
            "progress": {"fraction": 0.5, "message": "half", "updateTime": "2023-11-14T22:13:20Z", "partialResult": "AAE="},
            "cancelRequested": true,
            "initialMetadata": [{"key": "k", "ascii": ""}],
            "trailingMetadata": [{"key": "k-bin", "binary": "/w=="}],
            "gather": {"rule": {"need": 1, "primary": "a"}, "total": 1, "succeeded": 1,
                "branches": [{"name": "a", "job": {"id": "abd"}, "late": true}]},
            "retryOf": "abb",
            "stream": {"messages": "3", "size": "5000000000"},
            "response": {"message": "AAH+", "type": "a.Reply"},
        })
    );
}

#[test]
fn unset_fields_are_left_out_and_an_empty_answer_is_still_an_answer() {
    assert_eq!(job(&Job::default()), json!({}));
    let empty = Job { outcome: Some(Outcome::Response(Response::default())), ..Job::default() };
    assert_eq!(job(&empty), json!({"response": {}}));
    assert_eq!(job(&Job { state: 77, ..Job::default() }), json!({"state": 77}));
}

#[test]
fn errors_spell_out_the_details_that_are_known() {
    let form = |error| job(&Job { outcome: Some(Outcome::Error(error)), ..Job::default() });
    let bad = form(to_rpc_status(&invalid_field("width", "at most 10")));
    assert_eq!(
        bad,
        json!({"error": {
            "code": 3,
            "message": "width: at most 10",
            "details": [
                {
                    "@type": "type.googleapis.com/google.rpc.ErrorInfo",
                    "reason": "INVALID_FIELD",
                    "domain": "queuebridge",
                    "metadata": {"field": "width"},
                },
                {
                    "@type": "type.googleapis.com/google.rpc.BadRequest",
                    "fieldViolations": [{"field": "width", "description": "at most 10"}],
                },
            ],
        }})
    );
    let code = tonic::Code::ResourceExhausted;
    let later = retry_after(code, reason::OVERLOADED, "busy", Duration::from_millis(250));
    let later = form(to_rpc_status(&later));
    let delays: Vec<&Value> = later["error"]["details"]
        .as_array()
        .unwrap()
        .iter()
        .filter_map(|detail| detail.get("retryDelay"))
        .collect();
    assert_eq!(delays, ["0.250s"]);
}

#[test]
fn details_of_other_types_keep_their_bytes() {
    assert_eq!(
        detail("type.example.com/their.Own", &[1, 2]),
        json!({"@type": "type.example.com/their.Own", "value": "AQI="})
    );
    assert_eq!(
        detail("t/google.rpc.ErrorInfo", &[255]),
        json!({"@type": "t/google.rpc.ErrorInfo", "value": "/w=="})
    );
}

#[test]
fn numbers_and_times_at_the_edges() {
    assert_eq!(double(f64::NAN), json!("NaN"));
    let form = |seconds, nanos| duration(&prost_types::Duration { seconds, nanos });
    assert_eq!(form(0, 0), "0s");
    assert_eq!(form(-1, -500_000_000), "-1.500s");
    assert_eq!(form(0, -1), "-0.000000001s");
    assert_eq!(form(3, 1_000), "3.000001s");
    assert_eq!(timestamp(&Timestamp { seconds: 951_782_400, nanos: 0 }), "2000-02-29T00:00:00Z");
}
