//! An SQS on a real socket that hands out batches as it is told.

use super::{ParkingQueue, Received};
use serde_json::{Value, json};
use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

pub(super) struct Fake {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
}

struct State {
    batches: VecDeque<Vec<Received>>,
    released: Vec<String>,
    forbidden: bool,
}

impl Fake {
    /// Answers each receive with the next batch, and then with none.
    pub(super) async fn start(batches: Vec<Vec<Received>>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let batches = batches.into();
        let state = State { batches, released: vec![], forbidden: false };
        let state = Arc::new(Mutex::new(state));
        let served = state.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(serve(stream, served.clone()));
            }
        });
        Self { address, state }
    }

    pub(super) async fn queue(&self) -> ParkingQueue {
        let endpoint = format!("http://{}", self.address);
        let sdk = crate::aws::sdk_config_at(&endpoint).await;
        ParkingQueue::new(&sdk, format!("{endpoint}/1/parking"))
    }

    /// From here on nobody may read it.
    pub(super) fn forbid(&self) {
        self.state.lock().unwrap().forbidden = true;
    }

    /// The receipts of what was made visible again.
    pub(super) fn released(&self) -> Vec<String> {
        let mut released = self.state.lock().unwrap().released.clone();
        released.sort();
        released
    }
}

/// One request after the other, as long as the connection is kept.
async fn serve(mut stream: TcpStream, state: Arc<Mutex<State>>) {
    let mut read = String::new();
    loop {
        let Some((head, body)) = request(&read) else {
            let mut bytes = [0; 4096];
            match stream.read(&mut bytes).await {
                Ok(count) if count > 0 => read.push_str(&String::from_utf8_lossy(&bytes[..count])),
                _ => return,
            }
            continue;
        };
        let operation = head.rsplit_once("AmazonSQS.").unwrap().1;
        let operation = operation.lines().next().unwrap().to_owned();
        let body: Value = serde_json::from_str(&body).unwrap();
        read.clear();
        let (status, answer) = answer(&operation, &body, &mut state.lock().unwrap());
        let (text, kind) = (answer.to_string(), "application/x-amz-json-1.0");
        let length = text.len();
        let head =
            format!("HTTP/1.1 {status}\r\ncontent-type: {kind}\r\ncontent-length: {length}\r\n");
        stream.write_all(format!("{head}\r\n{text}").as_bytes()).await.unwrap();
    }
}

fn request(text: &str) -> Option<(String, String)> {
    let (head, body) = text.split_once("\r\n\r\n")?;
    let length = head.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        name.eq_ignore_ascii_case("content-length").then(|| value.trim().parse::<usize>().ok())?
    })?;
    (body.len() >= length).then(|| (head.to_owned(), body.to_owned()))
}

fn answer(operation: &str, request: &Value, state: &mut State) -> (&'static str, Value) {
    match operation {
        _ if state.forbidden => {
            let kind = "com.amazonaws.sqs#InvalidSecurity";
            ("403 Forbidden", json!({"__type": kind, "message": "no"}))
        }
        "ReceiveMessage" => {
            assert_eq!(request["VisibilityTimeout"], 600);
            let batch = state.batches.pop_front().unwrap_or_default();
            let messages: Vec<Value> = batch.into_iter().map(shown).collect();
            ("200 OK", json!({"Messages": messages}))
        }
        "ChangeMessageVisibilityBatch" => {
            let entries = request["Entries"].as_array().unwrap();
            let done: Vec<Value> = entries.iter().map(|e| json!({"Id": e["Id"]})).collect();
            for entry in entries {
                assert_eq!(entry["VisibilityTimeout"], 0);
                state.released.push(entry["ReceiptHandle"].as_str().unwrap().to_owned());
            }
            ("200 OK", json!({"Successful": done, "Failed": []}))
        }
        other => panic!("{other} was not expected"),
    }
}

fn shown(message: Received) -> Value {
    let attributes = message
        .attributes
        .into_iter()
        .map(|(name, value)| (name, json!({"DataType": "String", "StringValue": value})));
    json!({
        "MessageId": message.message_id,
        "ReceiptHandle": message.receipt,
        "Body": message.body,
        "Attributes": {"SentTimestamp": message.sent_at.unwrap().0.to_string()},
        "MessageAttributes": attributes.collect::<serde_json::Map<_, _>>(),
    })
}
