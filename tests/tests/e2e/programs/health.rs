//! Health checks and reflection of a gateway, until SIGTERM ends it.

use super::{PATIENCE, gateway, program};
use crate::stage::Stage;
use prost::Message;
use prost_types::FileDescriptorProto;
use queuebridge_tests::python;
use serde_json::Value;
use std::process::{Command, Stdio};
use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::Child;
use tokio::time::timeout;
use tokio_stream::once;
use tonic::transport::{Channel, Endpoint};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

const JOBS: &str = "queuebridge.v1.Jobs";
const FILE: &str = "queuebridge/v1/jobs.proto";

pub(super) fn told() {
    let watched = async { timeout(PATIENCE, watched()).await };
    Stage::shared().runtime.block_on(watched).expect("the gateway tells and ends");
}

async fn watched() {
    let (mut process, address) = serve().await;
    let channel = Endpoint::from_shared(format!("http://{address}")).unwrap().connect_lazy();
    let mut health = HealthClient::new(channel.clone());
    let of = |service: &str| HealthCheckRequest { service: service.to_owned() };
    for service in ["", JOBS] {
        let answer = health.check(of(service)).await.unwrap().into_inner();
        assert_eq!(answer.status(), ServingStatus::Serving, "{service}");
    }
    assert!(files(channel.clone()).await.contains(&FILE.to_owned()));
    assert!(files_of_alpha(channel).await.contains(&FILE.to_owned()));
    let mut watch = health.watch(of(JOBS)).await.unwrap().into_inner();
    let told = watch.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::Serving);
    let pid = process.id().unwrap().to_string();
    python::run(Command::new("kill").args(["-TERM", &pid])).unwrap();
    let told = watch.message().await.unwrap().unwrap();
    assert_eq!(told.status(), ServingStatus::NotServing);
    drop((watch, health));
    assert_eq!(process.wait().await.unwrap().code(), Some(0));
}

/// A gateway on a port that the system chooses, and its address.
async fn serve() -> (Child, String) {
    let mut command = program("queuebridge", &gateway());
    command.arg("serve").stderr(Stdio::piped());
    let mut process = tokio::process::Command::from(command).kill_on_drop(true).spawn().unwrap();
    let mut log = BufReader::new(process.stderr.take().unwrap()).lines();
    let address = loop {
        let line = log.next_line().await.unwrap().expect("it listens");
        let line: Value = serde_json::from_str(&line).unwrap_or_default();
        if line["fields"]["message"] == "listening" {
            break line["fields"]["address"].as_str().unwrap().to_owned();
        }
    };
    // Read on, or the pipe fills.
    tokio::spawn(async move { while let Ok(Some(_)) = log.next_line().await {} });
    (process, address)
}

/// The files that describe the gateway's own service.
async fn files(channel: Channel) -> Vec<String> {
    use v1::server_reflection_request::MessageRequest::FileContainingSymbol;
    use v1::server_reflection_response::MessageResponse::FileDescriptorResponse;
    let message_request = Some(FileContainingSymbol(JOBS.into()));
    let question = v1::ServerReflectionRequest { message_request, ..<_>::default() };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(once(question)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(FileDescriptorResponse(files)) = answer.message_response else { panic!("{answer:?}") };
    names(&files.file_descriptor_proto)
}

/// The same by the protocol that older tools speak.
async fn files_of_alpha(channel: Channel) -> Vec<String> {
    use v1alpha::server_reflection_request::MessageRequest::FileContainingSymbol;
    use v1alpha::server_reflection_response::MessageResponse::FileDescriptorResponse;
    let message_request = Some(FileContainingSymbol(JOBS.into()));
    let question = v1alpha::ServerReflectionRequest { message_request, ..<_>::default() };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let answers = client.server_reflection_info(once(question)).await.unwrap();
    let answer = answers.into_inner().message().await.unwrap().unwrap();
    let Some(FileDescriptorResponse(files)) = answer.message_response else { panic!("{answer:?}") };
    names(&files.file_descriptor_proto)
}

fn names(files: &[Vec<u8>]) -> Vec<String> {
    let name = |file: &Vec<u8>| FileDescriptorProto::decode(&file[..]).unwrap().name().to_owned();
    files.iter().map(name).collect()
}
