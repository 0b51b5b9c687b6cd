//! What a caller wants to hear again: metadata and statuses.

use crate::testing::EchoStatus;
use queuebridge_demo::probe::trailers::Trailers;
use tonic::metadata::{Ascii, Binary, MetadataMap, MetadataValue};
use tonic::{Code, Request, Response, Status};

const INITIAL: &str = "x-grpc-test-echo-initial";
const TRAILING: &str = "x-grpc-test-echo-trailing-bin";

/// The metadata of a call that goes back to its caller.
pub(crate) struct Echo {
    initial: Vec<MetadataValue<Ascii>>,
    trailing: Vec<MetadataValue<Binary>>,
}

impl Echo {
    pub(crate) fn of<T>(request: &Request<T>) -> Self {
        let metadata = request.metadata();
        Self {
            initial: metadata.get_all(INITIAL).iter().cloned().collect(),
            trailing: metadata.get_all_bin(TRAILING).iter().cloned().collect(),
        }
    }

    /// Attaches it to an answer, the trailing part also to a refusal. A stream that
    /// fails later has its trailing part from here, too.
    ///
    /// # Errors
    /// Those of the answer.
    pub(crate) fn onto<T>(
        self,
        answer: Result<Response<T>, Status>,
    ) -> Result<Response<T>, Status> {
        let append = |metadata: &mut MetadataMap| {
            for value in &self.trailing {
                metadata.append_bin(TRAILING, value.clone());
            }
        };
        match answer {
            Ok(mut response) => {
                for value in &self.initial {
                    response.metadata_mut().append(INITIAL, value.clone());
                }
                let mut trailers = Trailers::default();
                append(&mut trailers.0);
                response.extensions_mut().insert(trailers);
                Ok(response)
            }
            Err(mut status) => {
                append(status.metadata_mut());
                Err(status)
            }
        }
    }
}

/// Ends a call as its caller wishes; without a wish, or with OK, it goes on.
///
/// # Errors
/// The wish.
pub(crate) fn status(wish: Option<&EchoStatus>) -> Result<(), Status> {
    match wish {
        Some(wish) if wish.code != 0 => {
            Err(Status::new(Code::from_i32(wish.code), wish.message.clone()))
        }
        _ => Ok(()),
    }
}
