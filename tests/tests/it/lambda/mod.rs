//! The demo worker as a Lambda function: its real binary under the model of the
//! Runtime API, with its stores in the emulator.

mod batches;
mod failures;
mod ordered;
mod telemetry;

use aws_sdk_dynamodb::Client;
use prost::Message;
use queuebridge_proto::JobId;
use queuebridge_proto::v1::{Guarantee, State};
use queuebridge_store::dynamodb::{DynamoResultStore, create_table};
use queuebridge_store::{Clock, Record, ResultStore};
use queuebridge_tests::emulator::unique;
use queuebridge_tests::runtime_api::Function;
use queuebridge_tests::{Emulator, Messages, events, python};
use serde_json::Value;
use std::time::Duration;

/// More than any invocation here takes; Lambda has no longer ones.
const LONG: Duration = Duration::from_secs(900);

struct Lambda {
    function: Function,
    store: DynamoResultStore,
    messages: Messages,
    dir: tempfile::TempDir,
}

impl Lambda {
    async fn start(environment: &[(&str, &str)]) -> Self {
        let emulator = Emulator::shared().await;
        let dynamodb: Client = emulator.dynamodb().await;
        let table = unique("lambda");
        create_table(&dynamodb, &table).await.unwrap();
        let messages = Messages::default();
        let dir = tempfile::tempdir().unwrap();
        let binaries = tokio::task::spawn_blocking(python::binaries).await.unwrap();
        let mut variables = vec![
            ("AWS_ENDPOINT_URL", emulator.endpoint()),
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
            ("QB_ENVELOPE_KEYS", messages.keys_variable()),
            ("QB_STORE_TABLE", &table),
            ("QB_DEMO_APPEND_DIR", dir.path().to_str().unwrap()),
        ];
        variables.extend_from_slice(environment);
        let function = Function::start(&binaries.join("queuebridge-demo"), &variables).await;
        let function = function.unwrap();
        function.ready().await.unwrap();
        let store = DynamoResultStore::new(dynamodb, table, LONG);
        Self { function, store, messages, dir }
    }

    fn job(&self, method: &str, request: &impl Message) -> (JobId, String) {
        self.messages.seal(method, request, Guarantee::Claimed)
    }

    /// The ids that one event's answer asks to be redelivered.
    async fn redelivered(&self, records: &[Value]) -> Vec<String> {
        let answer = self.function.invoke(events::sqs(records), LONG).await;
        ids(&answer.json())
    }

    async fn record(&self, job: &JobId) -> Option<Record> {
        self.store.get(job, Clock::system().now()).await.unwrap()
    }

    async fn state(&self, job: &JobId) -> Option<State> {
        self.record(job).await.map(|record| record.state)
    }

    fn lines(&self, file: &str) -> Vec<String> {
        let text = std::fs::read_to_string(self.dir.path().join(file)).unwrap_or_default();
        text.lines().map(str::to_owned).collect()
    }
}

fn ids(answer: &Value) -> Vec<String> {
    events::failures(answer).into_iter().map(str::to_owned).collect()
}
