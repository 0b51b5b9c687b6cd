use super::*;
use crate::cli::{Cli, Command};
use crate::config::LimitsConfig;
use crate::listener::Peer;
use crate::listener::testing::{Authority, Files, listen};
use crate::listener::tls::Tls;
use clap::Parser;
use queuebridge_proto::error::{reason, status};
use queuebridge_proto::v1::jobs_server::{Jobs, JobsServer};
use queuebridge_proto::v1::{
    Branch, DeleteRequest, DownloadResultRequest, DownloadResultResponse, Gather, GetResultRequest,
    ListBranchesRequest, ListBranchesResponse, Metadatum, Progress, ReadStreamRequest,
    ReadStreamResponse, Response, State, Stream, SubmitBatchRequest, SubmitBatchResponse,
    SubmitRequest, SubmitResult, WatchResultRequest, WatchResultResponse, metadatum,
};
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tokio::net::TcpListener;
use tonic::transport::server::TcpIncoming;
use tonic::{Code, Status, Streaming};

/// A gateway whose one job, "abc", succeeds at the third look-up; cancelling it
/// comes too late.
#[derive(Default)]
struct Scripted {
    looks: AtomicU32,
}

fn job(state: State) -> Job {
    let mut job = Job { id: "abc".into(), method: "/a.B/C".into(), ..Job::default() };
    job.set_state(state);
    if state == State::Succeeded {
        job.outcome = Some(Outcome::Response(Response {
            message: vec![0, 1, 255].into(),
            ..Response::default()
        }));
    }
    job
}

type Answer<T> = Result<tonic::Response<T>, Status>;

#[tonic::async_trait]
impl Jobs for Scripted {
    type SubmitStreamStream = tokio_stream::Empty<Result<SubmitResult, Status>>;

    async fn submit(&self, request: Request<SubmitRequest>) -> Answer<Job> {
        match request.get_ref().method.as_str() {
            "/a.B/C" => Ok(job(State::Accepted).into()),
            _ => Err(status(Code::NotFound, reason::NO_ROUTE, "no route takes the method")),
        }
    }

    async fn submit_batch(&self, _: Request<SubmitBatchRequest>) -> Answer<SubmitBatchResponse> {
        Err(Status::unimplemented("not needed"))
    }

    async fn submit_stream(
        &self,
        _: Request<Streaming<SubmitRequest>>,
    ) -> Answer<Self::SubmitStreamStream> {
        Err(Status::unimplemented("not needed"))
    }

    async fn get_result(&self, request: Request<GetResultRequest>) -> Answer<Job> {
        if request.get_ref().id == "streamed" {
            let mut job = job(State::Succeeded);
            job.outcome = Some(Outcome::Response(Response::default()));
            job.stream = Some(Stream { messages: 2, size: 300 });
            return Ok(job.into());
        }
        let finished = self.looks.fetch_add(1, Ordering::SeqCst) >= 2;
        Ok(job(if finished { State::Succeeded } else { State::Running }).into())
    }

    type WatchResultStream = tokio_stream::Empty<Result<WatchResultResponse, Status>>;

    async fn watch_result(
        &self,
        _: Request<WatchResultRequest>,
    ) -> Answer<Self::WatchResultStream> {
        Err(Status::unimplemented("not needed"))
    }

    type DownloadResultStream = tokio_stream::Empty<Result<DownloadResultResponse, Status>>;

    async fn download_result(
        &self,
        _: Request<DownloadResultRequest>,
    ) -> Answer<Self::DownloadResultStream> {
        Err(Status::unimplemented("not needed"))
    }

    type ReadStreamStream =
        tokio_stream::Iter<std::vec::IntoIter<Result<ReadStreamResponse, Status>>>;

    async fn read_stream(&self, _: Request<ReadStreamRequest>) -> Answer<Self::ReadStreamStream> {
        let messages = [vec![], vec![7; 300]].map(|message| {
            Ok(ReadStreamResponse { message: message.into(), ..ReadStreamResponse::default() })
        });
        Ok(tokio_stream::iter(messages.to_vec()).into())
    }

    async fn list_branches(&self, _: Request<ListBranchesRequest>) -> Answer<ListBranchesResponse> {
        Err(Status::unimplemented("not needed"))
    }

    async fn delete(&self, _: Request<DeleteRequest>) -> Answer<()> {
        Err(Status::unimplemented("not needed"))
    }

    async fn cancel(&self, _: Request<CancelRequest>) -> Answer<Job> {
        Ok(job(State::Succeeded).into())
    }
}

async fn gateway() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let server = tonic::transport::Server::builder()
        .add_service(JobsServer::new(Scripted::default()))
        .serve_with_incoming(TcpIncoming::from(listener));
    tokio::spawn(server);
    address
}

async fn queuebridge(gateway: SocketAddr, line: &str) -> Exit {
    at(&format!("http://{gateway}"), line).await
}

async fn at(gateway: &str, line: &str) -> Exit {
    let line = format!("queuebridge {line} --gateway {gateway}");
    match Cli::try_parse_from(line.split_whitespace()).unwrap().command {
        Command::Client(command) => crate::cli::run(*command).await,
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn each_command_ends_with_the_code_of_its_outcome() {
    let gateway = gateway().await;
    assert_eq!(queuebridge(gateway, "submit --method /a.B/C").await, Exit::Success);
    assert_eq!(queuebridge(gateway, "submit --method /a.B/D --json").await, Exit::CallFailed);
    assert_eq!(queuebridge(gateway, "submit --method /a.B/C --file /no/file").await, Exit::Usage);
    assert_eq!(queuebridge(gateway, "get abc").await, Exit::StillRunning);
    assert_eq!(queuebridge(gateway, "wait abc --timeout 0s --json").await, Exit::StillRunning);
    assert_eq!(queuebridge(gateway, "get abc --json").await, Exit::Success);
    assert_eq!(queuebridge(gateway, "cancel abc").await, Exit::JobFailed);
}

#[test]
fn nothing_that_a_job_says_commands_the_terminal_or_turns_its_text_round() {
    let said = || "\x1b[2J\u{9b}\u{202e}\u{2028}\u{200b}\n\u{7f}".to_owned();
    let status = tonic_types::Status {
        code: 3,
        message: said(),
        details: vec![prost_types::Any { type_url: said(), value: vec![] }],
    };
    let failed = Job {
        id: said(),
        method: said(),
        retry_of: said(),
        progress: Some(Progress { message: said(), ..Progress::default() }),
        trailing_metadata: vec![Metadatum {
            key: said(),
            value: Some(metadatum::Value::Ascii(said())),
        }],
        outcome: Some(Outcome::Error(status)),
        ..Job::default()
    };
    let branch = Branch { name: said(), job: Some(failed.clone()), late: false };
    let job = Job {
        outcome: Some(Outcome::Response(Response { r#type: said(), ..Response::default() })),
        gather: Some(Box::new(Gather { branches: vec![branch], ..Gather::default() })),
        ..failed
    };
    for as_json in [false, true] {
        let shown = text(&job, &Output { json: as_json, ..Output::default() });
        let fine = |byte| (b' '..=b'~').contains(&byte) || byte == b'\n';
        assert!(shown.bytes().all(fine), "{shown:?}");
        if as_json {
            let read: serde_json::Value = serde_json::from_str(&shown).unwrap();
            assert_eq!(read, json::job(&job), "a program reads what was said");
        } else {
            let lines: Vec<_> = shown.lines().map(|line| line.split_once(' ').unwrap().0).collect();
            let expected = ["id", "method", "state", "retry", "trailing", "branches"];
            assert_eq!(lines, [&expected[..], &["branch", "response"]].concat());
        }
    }
}

#[tokio::test]
async fn waiting_looks_again_until_the_end_and_writes_the_answer() {
    let gateway = gateway().await;
    let name = format!("queuebridge-{}", uuid::Uuid::new_v4());
    let file = std::env::temp_dir().join(name);
    let line = format!("submit --method /a.B/C --wait 30s --output {}", file.display());
    assert_eq!(queuebridge(gateway, &line).await, Exit::Success);
    assert_eq!(std::fs::read(&file).unwrap(), [0, 1, 255]);
    std::fs::remove_file(&file).unwrap();
    let line = "get abc --output /no/such/folder/file";
    assert_eq!(queuebridge(gateway, line).await, Exit::Usage);
}

#[tokio::test]
async fn a_streamed_answer_is_written_message_by_message_each_after_its_length() {
    let gateway = gateway().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("answer");
    let line = format!("get operations/streamed --output {}", file.display());
    assert_eq!(queuebridge(gateway, &line).await, Exit::Success);
    // 300 as a varint, by Protobuf's "Encoding": 10101100 00000010.
    let expected = [&[0, 0xAC, 0x02][..], &[7; 300]].concat();
    assert_eq!(std::fs::read(&file).unwrap(), expected);
}

#[tokio::test]
async fn a_gateway_that_is_not_there_is_a_failed_call() {
    let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    assert_eq!(queuebridge(closed, "get abc").await, Exit::CallFailed);
}

/// Lets in who shows both a certificate and the token.
#[allow(clippy::result_large_err)]
fn known(request: Request<()>) -> Result<Request<()>, Status> {
    let peer = request.extensions().get::<Peer>();
    let certificate = peer.and_then(|peer| peer.certificate.clone());
    let token = request.metadata().get("authorization").map(|value| value.as_bytes());
    match (certificate, token) {
        (Some(certificate), Some(b"Bearer s3cret")) if certificate.subject == "CN=c" => Ok(request),
        _ => Err(Status::unauthenticated("not known")),
    }
}

#[tokio::test]
async fn over_tls_each_side_shows_who_it_is() {
    let (authority, other) = (Authority::new("a"), Authority::new("b"));
    let files = Files::with(&authority.server(), Some(&authority));
    let tls = Some(Arc::new(Tls::load(&files.config()).unwrap()));
    let (incoming, address) = listen(tls, LimitsConfig::default()).await;
    let server = tonic::transport::Server::builder()
        .add_service(JobsServer::with_interceptor(Scripted::default(), known))
        .serve_with_incoming(incoming);
    tokio::spawn(server);
    let own = authority.client("c");
    let (ca, foreign) = (files.path("clients.pem"), files.write("foreign.pem", &other.pem()));
    let (certificate, key) =
        (files.write("c.pem", &own.certificate), files.write("c.key", &own.key));
    let (token, empty) = (files.write("token", "s3cret\n"), files.write("empty", "\n"));
    let show = |path: &Path| path.display().to_string();
    let trust = format!("--tls-ca {}", show(&ca));
    let own = format!("--tls-certificate {} --tls-key {}", show(&certificate), show(&key));
    let token = format!("--token-file {}", show(&token));
    let port = address.port();
    let url = format!("https://localhost:{port}");
    let call = |options: String| {
        let (url, line) = (url.clone(), format!("submit --method /a.B/C {options}"));
        async move { at(&url, &line).await }
    };
    assert_eq!(call(format!("{trust} {own} {token}")).await, Exit::Success);
    assert_eq!(call(format!("{trust} {own}")).await, Exit::CallFailed, "no token");
    assert_eq!(call(format!("{trust} {token}")).await, Exit::CallFailed, "no certificate");
    assert_eq!(call(format!("{own} {token}")).await, Exit::CallFailed, "the system's roots");
    let foreign = format!("--tls-ca {} {own} {token}", show(&foreign));
    assert_eq!(call(foreign).await, Exit::CallFailed, "a foreign authority");
    let empty = format!("{trust} {own} --token-file {}", show(&empty));
    assert_eq!(call(empty).await, Exit::Usage, "an empty token");
    let wrong = format!("{trust} --tls-certificate {} --tls-key {}", show(&key), show(&key));
    assert_eq!(call(wrong).await, Exit::Usage, "a key is no certificate");
    let plain = format!("http://127.0.0.1:{port}");
    let line = "submit --method /a.B/C";
    assert_eq!(at(&plain, line).await, Exit::CallFailed, "plain text");
    assert_eq!(at(&plain, &format!("{line} {trust}")).await, Exit::Usage);
    let line = format!("{line} {token}");
    let elsewhere = at("http://192.0.2.1:1", &line).await;
    assert_eq!(elsewhere, Exit::Usage, "in plain text a token goes nowhere");
}
