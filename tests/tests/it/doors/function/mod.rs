//! The gateway as a Lambda function: its real binary under the model of the Runtime API,
//! its queue and stores in the emulator, and a worker process that polls.

mod callers;
mod ends;
mod limits;
mod protocols;

use super::door::{Door, event, reply, streamed_reply};
use super::protocol::{Call, Message, Outcome, Protocol};
use super::{Reply, Request};
use crate::aws;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use prost::Message as _;
use queuebridge_demo::v1;
use queuebridge_proto::v1::{GetResultRequest, Job, State, SubmitRequest};
use queuebridge_store::dynamodb::create_table;
use queuebridge_tests::emulator::unique;
use queuebridge_tests::runtime_api::Function;
use queuebridge_tests::{Emulator, python};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;
use tokio::process::{Child, Command};

/// More than any invocation here takes.
const LONG: Duration = Duration::from_secs(60);
const ECHO: &str = "/queuebridge.demo.v1.Probe/Echo";
const SUBMIT: &str = "/queuebridge.v1.Jobs/Submit";

/// The doors of a function whose answers are whole.
const BUFFERED: [Door; 4] = [Door::Alb, Door::AlbMultiValue, Door::HttpApi, Door::Url];
/// What passes them.
const SPOKEN: [Protocol; 4] =
    [Protocol::GrpcWeb, Protocol::GrpcWebText, Protocol::ConnectProto, Protocol::ConnectJson];

/// A deployment, with no process yet.
struct Deployment {
    table: String,
    bucket: String,
    queue: String,
    dir: tempfile::TempDir,
    binaries: PathBuf,
    keys: [String; 2],
}

impl Deployment {
    async fn new() -> Self {
        let emulator = Emulator::shared().await;
        let table = unique("function");
        create_table(&emulator.dynamodb().await, &table).await.unwrap();
        let bucket = unique("function");
        emulator.s3().await.create_bucket().bucket(&bucket).send().await.unwrap();
        let queue = aws::queue(&emulator.sqs().await, &[]).await;
        let binaries = tokio::task::spawn_blocking(python::binaries).await.unwrap();
        let dir = tempfile::tempdir().unwrap();
        let keys = [1, 2].map(|id| format!("{id}:{}", STANDARD.encode(uuid::Uuid::new_v4())));
        let descriptors = dir.path().join("demo.bin");
        std::fs::write(&descriptors, queuebridge_demo::FILE_DESCRIPTOR_SET).unwrap();
        let config = format!(
            "auth = \"none\"\n\
             max_message_bytes = \"8MiB\"\n\
             descriptors.files = [\"{}\"]\n\
             replies.queues = [\"{queue}-reply\"]\n\
             [[route]]\n\
             methods = \"*\"\n\
             queue = \"{queue}\"\n\
             modes = [\"sync\", \"auto\", \"async\"]\n",
            descriptors.display()
        );
        std::fs::write(dir.path().join("gateway.toml"), config).unwrap();
        Self { table, bucket, queue, dir, binaries: binaries.to_owned(), keys }
    }

    async fn common(&self) -> Vec<(&'static str, String)> {
        vec![
            ("AWS_ENDPOINT_URL", Emulator::shared().await.endpoint().to_owned()),
            ("AWS_ACCESS_KEY_ID", "test".to_owned()),
            ("AWS_SECRET_ACCESS_KEY", "test".to_owned()),
            ("AWS_REGION", "us-east-1".to_owned()),
            ("QB_ENVELOPE_KEYS", self.keys[0].clone()),
            ("QB_STORE_TABLE", self.table.clone()),
            ("QB_STORE_PAYLOAD_BUCKET", self.bucket.clone()),
        ]
    }

    /// The gateway, as a bootstrap: without arguments.
    async fn function(&self, environment: &[(&str, &str)]) -> Function {
        let config = self.dir.path().join("gateway.toml");
        let common = self.common().await;
        let mut all: Vec<(&str, &str)> = common.iter().map(|(k, v)| (*k, v.as_str())).collect();
        all.push(("QB_JOB_ID_KEYS", &self.keys[1]));
        all.push(("QB_CONFIG", config.to_str().unwrap()));
        all.extend_from_slice(environment);
        let function = Function::start(&self.binaries.join("queuebridge"), &all).await.unwrap();
        function.ready().await.unwrap_or_else(|log| panic!("{log}"));
        function
    }

    /// A worker of the demo services, which ends with the test.
    async fn worker(&self) -> Child {
        Command::new(self.binaries.join("queuebridge-demo"))
            .env_clear()
            .envs(self.common().await)
            .env("QB_QUEUE_URL", &self.queue)
            .env("QB_DEMO_APPEND_DIR", self.dir.path())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .kill_on_drop(true)
            .spawn()
            .unwrap()
    }

    /// Changes the configuration of the functions that are started from now on.
    fn configure(&self, old: &str, new: &str) {
        let path = self.path().join("gateway.toml");
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains(old), "{text}");
        std::fs::write(path, text.replace(old, new)).unwrap();
    }

    fn path(&self) -> &Path {
        self.dir.path()
    }
}

/// Sends a request through a door.
async fn send(function: &Function, door: Door, request: Request, time: Duration) -> Reply {
    let answer = function.invoke(event(door, &request).to_string(), time).await;
    if door == Door::UrlStream { streamed_reply(&answer) } else { reply(door, &answer.json()) }
}

/// A submission of `Echo` with the payload `hi`.
fn submission(wait: i64) -> SubmitRequest {
    let request = v1::EchoRequest { payload: "hi".into(), ..Default::default() };
    let wait = (wait > 0).then_some(prost_types::Duration { seconds: wait, nanos: 0 });
    SubmitRequest {
        method: ECHO.to_owned(),
        request: request.encode_to_vec().into(),
        wait,
        ..SubmitRequest::default()
    }
}

fn submit(wait: i64) -> Call {
    let request = submission(wait);
    let mut json = json!({"method": ECHO, "request": "CgJoaQ=="});
    if wait > 0 {
        json["wait"] = json!(format!("{wait}s"));
    }
    let messages = vec![(request.encode_to_vec().into(), json)];
    Call { method: SUBMIT, streaming: false, messages }
}

fn get(id: &str, wait: i64) -> Call {
    let wait = prost_types::Duration { seconds: wait, nanos: 0 };
    let json = json!({"id": id, "wait": format!("{}s", wait.seconds)});
    let request = GetResultRequest { id: id.to_owned(), wait: Some(wait) };
    let messages = vec![(request.encode_to_vec().into(), json)];
    Call { method: "/queuebridge.v1.Jobs/GetResult", streaming: false, messages }
}

/// The one job of an outcome, by id and state.
fn job(outcome: &Outcome) -> (String, State) {
    assert_eq!(outcome.code, 0, "{outcome:?}");
    match &outcome.messages[..] {
        [Message::Binary(bytes)] => {
            let job = Job::decode(bytes.clone()).unwrap();
            let state = job.state();
            (job.id, state)
        }
        [Message::Json(job)] => {
            let state = State::from_str_name(job["state"].as_str().unwrap()).unwrap();
            (job["id"].as_str().unwrap().to_owned(), state)
        }
        other => panic!("{other:?}"),
    }
}
