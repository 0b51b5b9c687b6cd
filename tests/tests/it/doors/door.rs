//! The doors: what stands between a client and the worker binary.

use super::gateway::Bridge;
use super::{Reply, Request};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioIo;
use queuebridge_tests::python;
use queuebridge_tests::runtime_api::{Answer, Function};
use serde_json::{Map, Value, json};
use std::process::Stdio;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};

/// Longer than any call here takes.
const LONG: Duration = Duration::from_secs(60);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Door {
    Alb,
    AlbMultiValue,
    HttpApi,
    Url,
    UrlStream,
    Container,
    /// The gateway's port: between it and the services there is a queue.
    Gateway,
}

pub(super) const DOORS: [Door; 7] = [
    Door::Alb,
    Door::AlbMultiValue,
    Door::HttpApi,
    Door::Url,
    Door::UrlStream,
    Door::Container,
    Door::Gateway,
];

/// The demo services behind all doors.
pub(super) struct House {
    buffered: Function,
    streaming: Function,
    pub(super) address: String,
    gateway: Bridge,
    _server: Child,
}

impl House {
    pub(super) async fn new() -> Self {
        let binaries = tokio::task::spawn_blocking(python::binaries).await.unwrap();
        let program = binaries.join("queuebridge-demo");
        let buffered = Function::start(&program, &[]).await.unwrap();
        let stream = [("QB_LAMBDA_INVOKE_MODE", "RESPONSE_STREAM")];
        let streaming = Function::start(&program, &stream).await.unwrap();
        buffered.ready().await.unwrap();
        streaming.ready().await.unwrap();
        let mut server = Command::new(program)
            .env_clear()
            .env("QB_LISTEN", "127.0.0.1:0")
            .stderr(Stdio::piped())
            .kill_on_drop(true)
            .spawn()
            .unwrap();
        let mut log = BufReader::new(server.stderr.take().unwrap()).lines();
        let address = loop {
            let line = log.next_line().await.unwrap().expect("it listens");
            let line: Value = serde_json::from_str(&line).unwrap_or_default();
            if line["fields"]["message"] == "listening" {
                break line["fields"]["address"].as_str().unwrap().to_owned();
            }
        };
        // Read on, or the pipe fills.
        tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
        let gateway = Bridge::new().await;
        Self { buffered, streaming, address, gateway, _server: server }
    }

    /// Sends a request through a door.
    pub(super) async fn send(&self, door: Door, request: Request) -> Reply {
        match door {
            Door::Container => over_http(&self.address, request).await,
            Door::Gateway => over_http(&self.gateway.address, request).await,
            Door::UrlStream => self.streamed(request).await,
            Door::Alb | Door::AlbMultiValue | Door::HttpApi | Door::Url => {
                let answer = self.buffered.invoke(event(door, &request).to_string(), LONG).await;
                reply(door, &answer.json())
            }
        }
    }

    /// Invokes the function with a document of any kind.
    pub(super) async fn invoke(&self, event: &Value, time: Duration) -> Answer {
        self.buffered.invoke(event.to_string(), time).await
    }

    async fn streamed(&self, request: Request) -> Reply {
        let event = event(Door::UrlStream, &request).to_string();
        streamed_reply(&self.streaming.invoke(event, LONG).await)
    }
}

/// What the service in front of the function makes of a streamed answer.
pub(super) fn streamed_reply(answer: &Answer) -> Reply {
    let Answer::Streamed { body, error: None, .. } = answer else { panic!("{answer:?}") };
    let end = body.windows(8).position(|window| window == [0; 8]).expect("metadata");
    let head: Value = serde_json::from_slice(&body[..end]).unwrap();
    let headers = head["headers"].as_object().unwrap().iter().map(text).collect();
    let status = head["statusCode"].as_u64().unwrap().try_into().unwrap();
    Reply { status, headers, body: body.slice(end + 8..) }
}

/// Sends a request by HTTP/1.1.
pub(super) async fn over_http(address: &str, request: Request) -> Reply {
    let stream = TcpStream::connect(address).await.unwrap();
    let (mut sender, connection) =
        hyper::client::conn::http1::handshake(TokioIo::new(stream)).await.unwrap();
    let connection = tokio::spawn(connection);
    let mut uri = request.path;
    if !request.query.is_empty() {
        uri = format!("{uri}?{}", request.query);
    }
    let mut builder = hyper::Request::builder().method(request.method).uri(uri);
    builder = builder.header("host", address);
    for (name, value) in request.headers {
        builder = builder.header(name, value);
    }
    let response = sender.send_request(builder.body(Full::new(request.body)).unwrap()).await;
    let (parts, body) = response.unwrap().into_parts();
    let body = body.collect().await.unwrap().to_bytes();
    connection.abort();
    let pair = |(name, value): (&hyper::header::HeaderName, &hyper::header::HeaderValue)| {
        (name.to_string(), String::from_utf8_lossy(value.as_bytes()).into_owned())
    };
    Reply { status: parts.status.as_u16(), headers: parts.headers.iter().map(pair).collect(), body }
}

/// The document of a request, as the service in front of the function makes it.
pub(super) fn event(door: Door, request: &Request) -> Value {
    let content_type = request.headers.iter().find(|(name, _)| name == "content-type");
    let content_type = content_type.map(|(_, value)| value.as_str()).unwrap_or_default();
    let is_text = content_type.starts_with("text/") || content_type == "application/json";
    let (body, encoded) = match is_text {
        true => (String::from_utf8(request.body.to_vec()).unwrap(), false),
        false => (STANDARD.encode(&request.body), true),
    };
    let mut lists: Map<String, Value> = Map::new();
    for (name, value) in &request.headers {
        let list = lists.entry(name.clone()).or_insert_with(|| json!([]));
        list.as_array_mut().unwrap().push(json!(value));
    }
    let single = |join: &dyn Fn(&[Value]) -> String| -> Value {
        lists.iter().map(|(k, v)| (k.clone(), json!(join(v.as_array().unwrap())))).collect()
    };
    let last = |values: &[Value]| values.last().unwrap().as_str().unwrap().to_owned();
    let joined =
        |values: &[Value]| values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",");
    let query: Map<String, Value> = request
        .query
        .split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(key, value)| (key.to_owned(), json!(value)))
        .collect();
    let mut event = json!({"body": body, "isBase64Encoded": encoded});
    match door {
        Door::Alb | Door::AlbMultiValue => {
            event["requestContext"] = json!({"elb": {"targetGroupArn": "arn"}});
            event["httpMethod"] = json!(request.method);
            event["path"] = json!(request.path);
            if door == Door::Alb {
                event["headers"] = single(&last);
                event["queryStringParameters"] = query.into();
            } else {
                event["multiValueHeaders"] = lists.clone().into();
                let list = |(key, value)| (key, json!([value]));
                let query: Map<String, Value> = query.into_iter().map(list).collect();
                event["multiValueQueryStringParameters"] = query.into();
            }
        }
        _ => {
            let domain = if door == Door::HttpApi { "a.execute-api" } else { "a.lambda-url" };
            event["version"] = json!("2.0");
            event["rawPath"] = json!(request.path);
            event["rawQueryString"] = json!(request.query);
            event["headers"] = single(&joined);
            event["requestContext"] = json!({
                "http": {"method": request.method, "path": request.path},
                "domainName": format!("{domain}.us-east-1.on.aws"),
            });
        }
    }
    event
}

pub(super) fn reply(door: Door, answer: &Value) -> Reply {
    let headers = match door {
        Door::AlbMultiValue => {
            let lists = answer["multiValueHeaders"].as_object().expect("lists, as they came");
            let values = |(name, values): (&String, &Value)| {
                let values = values.as_array().unwrap().clone();
                let name = name.clone();
                values.into_iter().map(move |v| (name.clone(), v.as_str().unwrap().to_owned()))
            };
            lists.iter().flat_map(values).collect()
        }
        _ => answer["headers"].as_object().expect("single values").iter().map(text).collect(),
    };
    let body = answer["body"].as_str().unwrap();
    let body = match answer["isBase64Encoded"].as_bool().unwrap() {
        true => STANDARD.decode(body).unwrap().into(),
        false => Bytes::copy_from_slice(body.as_bytes()),
    };
    if matches!(door, Door::Alb | Door::AlbMultiValue) {
        assert!(answer["statusDescription"].is_string(), "{answer}");
    }
    Reply { status: answer["statusCode"].as_u64().unwrap().try_into().unwrap(), headers, body }
}

fn text((name, value): (&String, &Value)) -> (String, String) {
    // A streamed answer's metadata may hold lists.
    let value = match value {
        Value::Array(values) => {
            values.iter().filter_map(Value::as_str).collect::<Vec<_>>().join(",")
        }
        value => value.as_str().unwrap_or_default().to_owned(),
    };
    (name.clone(), value)
}
