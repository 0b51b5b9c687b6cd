//! Events of ordered queues.

use super::Lambda;
use crate::fixture::flaky;
use queuebridge_demo::v1;
use queuebridge_tests::events::ordered;
use serde_json::Value;

impl Lambda {
    fn line(&self, group: &str, line: usize) -> Value {
        let request = v1::AppendRequest {
            file: group.into(),
            line: line.to_string(),
            // Long enough that a second one would overtake, if it could.
            then_wait: Some(prost_types::Duration { seconds: 0, nanos: 20_000_000 }),
        };
        let (_, body) = self.job("Append", &request);
        ordered(&format!("{group}-{line}"), &body, group)
    }
}

#[tokio::test]
async fn a_group_runs_in_its_order() {
    let lambda = Lambda::start(&[]).await;
    let records: Vec<_> =
        (0..10).map(|number| lambda.line(["a", "b"][number % 2], number)).collect();
    assert!(lambda.redelivered(&records).await.is_empty());
    assert_eq!(lambda.lines("a"), ["0", "2", "4", "6", "8"]);
    assert_eq!(lambda.lines("b"), ["1", "3", "5", "7", "9"]);
}

#[tokio::test]
async fn a_group_stops_at_its_first_failure_and_the_others_go_on() {
    let lambda = Lambda::start(&[]).await;
    let (_, body) = lambda.job("Flaky", &flaky(1));
    let failing = ordered("failing", &body, "a");
    let records = [
        lambda.line("a", 0),
        lambda.line("b", 1),
        failing.clone(),
        lambda.line("a", 3),
        lambda.line("b", 4),
        lambda.line("a", 5),
    ];
    assert_eq!(lambda.redelivered(&records).await, ["failing", "a-3", "a-5"]);
    assert_eq!(lambda.lines("a"), ["0"]);
    assert_eq!(lambda.lines("b"), ["1", "4"]);
    // As the queue hands them over again: the group goes on where it stopped.
    let again = [failing, records[3].clone(), records[5].clone()];
    assert!(lambda.redelivered(&again).await.is_empty());
    assert_eq!(lambda.lines("a"), ["0", "3", "5"]);
}
