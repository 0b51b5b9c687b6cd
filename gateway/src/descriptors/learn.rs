//! Learning a server's descriptors from its own reflection.

mod conversation;
mod files;

use conversation::Conversation;
use files::Files;
use http_body::Body as HttpBody;
use std::time::Duration;
use tonic::body::Body;
use tonic::client::GrpcService;
use tonic::codegen::{Bytes, StdError};
use tonic::{Code, Status};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Answer;

const V1: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
const V1ALPHA: &str = "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo";

/// How much is asked of a server that need not be friendly.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// For everything together.
    pub time: Duration,
    /// Of all files together.
    pub bytes: usize,
}

impl Default for Bounds {
    /// The whole of a large vendor's surface is a few megabytes and takes a second
    /// or two, one round trip for each file.
    fn default() -> Self {
        Self { time: Duration::from_secs(15), bytes: 16 * 1024 * 1024 }
    }
}

/// Why nothing was learned.
#[derive(Debug, thiserror::Error)]
pub enum LearnError {
    /// The server does not tell, or not all.
    #[error("{asked}: {status}")]
    Refused {
        /// What was asked for.
        asked: String,
        /// What the server said.
        status: Status,
    },
    /// It took too long.
    #[error("the server's reflection took longer than {0:?}")]
    Late(Duration),
    /// There is too much.
    #[error("the server's descriptors are larger than {0} bytes")]
    Large(usize),
}

/// Asks a server by `grpc.reflection.v1`, or `v1alpha` if it has only that, for all
/// services and what their files import. Answers a serialized `FileDescriptorSet`,
/// for [`DescriptorRegistry::replace`](super::DescriptorRegistry::replace).
///
/// # Errors
/// See [`LearnError`]. A service that the server lists and cannot describe is left
/// out, and so is what needs an import that it cannot give.
pub async fn learn<T>(server: T, bounds: Bounds) -> Result<Vec<u8>, LearnError>
where
    T: GrpcService<Body> + Clone,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let asking = async {
        match ask(Conversation::new(server.clone(), V1, bounds.bytes), bounds).await {
            Err(LearnError::Refused { status, .. }) if status.code() == Code::Unimplemented => {
                ask(Conversation::new(server, V1ALPHA, bounds.bytes), bounds).await
            }
            other => other,
        }
    };
    let asked = tokio::time::timeout(bounds.time, asking).await;
    asked.unwrap_or(Err(LearnError::Late(bounds.time)))
}

async fn ask<T>(mut server: Conversation<T>, bounds: Bounds) -> Result<Vec<u8>, LearnError>
where
    T: GrpcService<Body> + Clone,
    T::ResponseBody: HttpBody<Data = Bytes> + Send + 'static,
    <T::ResponseBody as HttpBody>::Error: Into<StdError> + Send,
{
    let refused = |asked: &str, status| LearnError::Refused { asked: asked.to_owned(), status };
    let listed = server.ask(Question::ListServices("*".to_owned())).await;
    let services = match listed.map_err(|status| refused("the list of services", status))? {
        Answer::ListServicesResponse(list) => list.service,
        _ => return Err(refused("the list of services", unexpected())),
    };
    let mut files = Files::new(bounds.bytes);
    for service in services.into_iter().map(|service| service.name) {
        // Every server has its own.
        if service.starts_with("grpc.reflection.") {
            continue;
        }
        match server.ask(Question::FileContainingSymbol(service.clone())).await {
            Ok(Answer::FileDescriptorResponse(found)) => files.add(found.file_descriptor_proto)?,
            Ok(_) => return Err(refused(&service, unexpected())),
            Err(status) if is_answer(status.code()) => {
                tracing::warn!(service, %status, "the server does not describe a service");
            }
            Err(status) => return Err(refused(&service, status)),
        }
    }
    while let Some(name) = files.missing() {
        match server.ask(Question::FileByFilename(name.clone())).await {
            Ok(Answer::FileDescriptorResponse(found)) => files.add(found.file_descriptor_proto)?,
            Ok(_) => return Err(refused(&name, unexpected())),
            // Some servers leave out what everybody has.
            Err(status) => match files::well_known(&name) {
                Some(file) => files.add(vec![file])?,
                // What needs the file is left out when the set is read.
                None if is_answer(status.code()) => {
                    tracing::warn!(file = name, %status, "the server does not have an import");
                }
                None => return Err(refused(&name, status)),
            },
        }
    }
    Ok(files.into_set())
}

/// Whether a server says by a code that it does not have what was asked for. Implementations
/// differ in how they say so; what is left may succeed the next time.
fn is_answer(code: Code) -> bool {
    matches!(
        code,
        Code::NotFound
            | Code::Unknown
            | Code::InvalidArgument
            | Code::FailedPrecondition
            | Code::OutOfRange
            | Code::Internal
            | Code::DataLoss
    )
}

fn unexpected() -> Status {
    Status::internal("the answer is of another kind than the question")
}

#[cfg(test)]
mod tests;
