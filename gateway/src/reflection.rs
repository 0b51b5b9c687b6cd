//! The gateway's reflection: its own services, and those that live behind it.
//!
//! tonic's reflection is built once and knows one file per name. Here the answers
//! come from what is known now, and the files of one service from one source; and a caller
//! is shown what its grants reach.

mod alpha;

use crate::descriptors::DescriptorRegistry;
use crate::descriptors::view::{Place, View};
use crate::identity::Identity;
use futures_util::{Stream, StreamExt};
use std::pin::Pin;
use std::sync::Arc;
use tonic::{Code, Request, Response, Status, Streaming};
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest as Question;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse as Answer;
use tonic_reflection::pb::v1::server_reflection_server::{
    ServerReflection, ServerReflectionServer,
};
use tonic_reflection::pb::v1::{
    ErrorResponse, ExtensionNumberResponse, FileDescriptorResponse, ListServiceResponse,
    ServerReflectionRequest, ServerReflectionResponse, ServiceResponse,
};

/// Both versions of the service.
pub(crate) fn services(
    registry: &Arc<DescriptorRegistry>,
) -> (ServerReflectionServer<Reflection>, alpha::Alpha<ServerReflectionServer<Reflection>>) {
    let service = ServerReflectionServer::new(Reflection(registry.clone()));
    (service.clone(), alpha::Alpha(service))
}

/// The service over what is known.
pub(crate) struct Reflection(Arc<DescriptorRegistry>);

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let caller = Identity::of(&request)?;
        let mut conversation = Conversation::new(self.0.clone(), caller);
        let answers = request.into_inner().map(move |question| Ok(conversation.reply(question?)));
        Ok(Response::new(Box::pin(answers)))
    }
}

/// One caller's questions, which build on one another.
struct Conversation {
    registry: Arc<DescriptorRegistry>,
    caller: Identity,
    /// As it was at the last list, so that its files belong together.
    known: View,
    /// Where the last symbol was found: its imports are meant from there.
    place: Place,
}

impl Conversation {
    fn new(registry: Arc<DescriptorRegistry>, caller: Identity) -> Self {
        let known = View::new(registry.current(), |service| caller.reaches(service));
        Self { registry, caller, known, place: 0 }
    }

    fn reply(&mut self, request: ServerReflectionRequest) -> ServerReflectionResponse {
        let answer = match &request.message_request {
            Some(question) => self.answer(question),
            None => Err((Code::InvalidArgument, "the request asks for nothing".to_owned())),
        };
        let answer = answer.unwrap_or_else(|(code, error_message)| {
            Answer::ErrorResponse(ErrorResponse { error_code: code as i32, error_message })
        });
        ServerReflectionResponse {
            valid_host: request.host.clone(),
            original_request: Some(request),
            message_response: Some(answer),
        }
    }

    fn answer(&mut self, question: &Question) -> Result<Answer, (Code, String)> {
        let unknown = |what: &str| (Code::NotFound, format!("{what} is not known here"));
        match question {
            Question::ListServices(_) => {
                let now = self.registry.current();
                if !self.known.is_of(&now) {
                    self.known = View::new(now, |service| self.caller.reaches(service));
                }
                let services = self.known.services();
                let service = services.map(|name| ServiceResponse { name: name.clone() }).collect();
                Ok(Answer::ListServicesResponse(ListServiceResponse { service }))
            }
            Question::FileContainingSymbol(symbol) => {
                // Some callers write types as they stand in fields.
                let found = self.known.declaring(symbol.trim_start_matches('.'));
                let (place, file) = found.ok_or_else(|| unknown(symbol))?;
                self.place = place;
                Ok(serialized(file))
            }
            Question::FileByFilename(name) => {
                let file = self.known.file(name, self.place).ok_or_else(|| unknown(name))?;
                Ok(serialized(file))
            }
            Question::FileContainingExtension(asked) => {
                let name = format!("{} of {}", asked.extension_number, asked.containing_type);
                let number = u32::try_from(asked.extension_number).unwrap_or(0);
                let found = self.known.extension(&asked.containing_type, number);
                let (place, file) = found.ok_or_else(|| unknown(&name))?;
                self.place = place;
                Ok(serialized(file))
            }
            Question::AllExtensionNumbersOfType(of) => {
                let numbers = self.known.extension_numbers(of).ok_or_else(|| unknown(of))?;
                let number = numbers.into_iter().filter_map(|n| i32::try_from(n).ok()).collect();
                let base_type_name = of.clone();
                let numbers = ExtensionNumberResponse { base_type_name, extension_number: number };
                Ok(Answer::AllExtensionNumbersResponse(numbers))
            }
        }
    }
}

fn serialized(file: Vec<u8>) -> Answer {
    Answer::FileDescriptorResponse(FileDescriptorResponse { file_descriptor_proto: vec![file] })
}

#[cfg(test)]
mod tests;
