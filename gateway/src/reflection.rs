//! The gateway's reflection: its own services, and those that live behind it.
//!
//! tonic's reflection is built once and knows one file per name. Here the answers
//! come from what is known now, and the files of one service from one source; and a caller
//! is shown what its grants reach. Callers who reach the same share what they are shown, and
//! answers take room until they have left.

mod alpha;
mod views;

use crate::descriptors::DescriptorRegistry;
use crate::descriptors::view::{Place, View};
use crate::identity::Identity;
use crate::leaving::CallRoom;
use crate::native::HEALTH_BYTES;
use futures_util::{Stream, stream};
use prost::Message;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::timeout;
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
use views::Views;

/// The largest question: names are short, and come back in the answer.
const QUESTION_BYTES: usize = HEALTH_BYTES;
/// Whoever asks nothing for so long is shown what is known then.
const IDLE: Duration = Duration::from_secs(10);

/// Both versions of the service.
pub(crate) fn services(
    registry: &Arc<DescriptorRegistry>,
) -> (ServerReflectionServer<Reflection>, alpha::Alpha<ServerReflectionServer<Reflection>>) {
    let reflection = Reflection(Arc::new(Views::new(registry.clone())));
    let service = ServerReflectionServer::new(reflection).max_decoding_message_size(QUESTION_BYTES);
    (service.clone(), alpha::Alpha(service))
}

/// The service over what is known.
pub(crate) struct Reflection(Arc<Views>);

#[tonic::async_trait]
impl ServerReflection for Reflection {
    type ServerReflectionInfoStream =
        Pin<Box<dyn Stream<Item = Result<ServerReflectionResponse, Status>> + Send>>;

    async fn server_reflection_info(
        &self,
        request: Request<Streaming<ServerReflectionRequest>>,
    ) -> Result<Response<Self::ServerReflectionInfoStream>, Status> {
        let (caller, room) = (Identity::of(&request)?, CallRoom::of(&request));
        let conversation = Conversation::new(self.0.clone(), caller);
        let begin = (request.into_inner(), conversation, room);
        let answers = stream::try_unfold(begin, |(mut questions, mut conversation, room)| async {
            let Some(question) = next(&mut questions, &mut conversation).await? else {
                return Ok(None);
            };
            let answer = conversation.reply(question);
            room.take_next(answer.encoded_len()).await?;
            Ok(Some((answer, (questions, conversation, room))))
        });
        Ok(Response::new(Box::pin(answers)))
    }
}

/// The next question, before which a conversation forgets what it has stood still with.
async fn next(
    questions: &mut Streaming<ServerReflectionRequest>,
    conversation: &mut Conversation,
) -> Result<Option<ServerReflectionRequest>, Status> {
    if let Ok(question) = timeout(IDLE, questions.message()).await {
        return question;
    }
    conversation.known = None;
    questions.message().await
}

/// One caller's questions, which build on one another.
struct Conversation {
    views: Arc<Views>,
    caller: Identity,
    /// As it was at the last list, so that its files belong together. Nothing before the first
    /// question.
    known: Option<Arc<View>>,
    /// Where the last symbol was found: its imports are meant from there.
    place: Place,
}

impl Conversation {
    fn new(views: Arc<Views>, caller: Identity) -> Self {
        Self { views, caller, known: None, place: 0 }
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
        let kept = self.known.take().filter(|_| !matches!(question, Question::ListServices(_)));
        let known = kept.unwrap_or_else(|| self.views.of(&self.caller));
        self.known = Some(known.clone());
        match question {
            Question::ListServices(_) => {
                let names = known.services();
                let service = names.map(|name| ServiceResponse { name: name.clone() }).collect();
                Ok(Answer::ListServicesResponse(ListServiceResponse { service }))
            }
            Question::FileContainingSymbol(symbol) => {
                // Some callers write types as they stand in fields.
                let found = known.declaring(symbol.trim_start_matches('.'));
                let (place, file) = found.ok_or_else(|| unknown(symbol))?;
                self.place = place;
                Ok(serialized(file))
            }
            Question::FileByFilename(name) => {
                let file = known.file(name, self.place).ok_or_else(|| unknown(name))?;
                Ok(serialized(file))
            }
            Question::FileContainingExtension(asked) => {
                let name = format!("{} of {}", asked.extension_number, asked.containing_type);
                let number = u32::try_from(asked.extension_number).unwrap_or(0);
                let found = known.extension(&asked.containing_type, number);
                let (place, file) = found.ok_or_else(|| unknown(&name))?;
                self.place = place;
                Ok(serialized(file))
            }
            Question::AllExtensionNumbersOfType(of) => {
                let numbers = known.extension_numbers(of).ok_or_else(|| unknown(of))?;
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
