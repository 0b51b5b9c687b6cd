//! What tools ask, in their order.

use super::*;
use crate::auth::{Grant, Rights, Verb};
use crate::descriptors::tests::{registry, set};
use crate::leaving::Leaving;
use futures_util::future::ready;
use futures_util::{StreamExt, TryStreamExt};
use http::Request as HttpRequest;
use prost_types::{DescriptorProto, FileDescriptorProto, FileDescriptorSet};
use tonic::body::Body;
use tonic_reflection::pb::v1::ExtensionRequest;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tower::service_fn;

fn views(registry: &Arc<DescriptorRegistry>) -> Arc<Views> {
    Arc::new(Views::new(registry.clone()))
}

fn conversation(registry: &Arc<DescriptorRegistry>) -> Conversation {
    Conversation::new(views(registry), Identity::trusted("shop"))
}

fn ask(conversation: &mut Conversation, question: Question) -> Answer {
    let request =
        ServerReflectionRequest { host: "h".into(), message_request: Some(question.clone()) };
    let reply = conversation.reply(request);
    assert_eq!(reply.original_request.unwrap().message_request, Some(question));
    reply.message_response.unwrap()
}

fn list(conversation: &mut Conversation) -> Vec<String> {
    match ask(conversation, Question::ListServices(String::new())) {
        Answer::ListServicesResponse(list) => list.service.into_iter().map(|s| s.name).collect(),
        other => panic!("{other:?}"),
    }
}

/// The package of the file, or the code of the error.
fn package(answer: Answer) -> Result<String, i32> {
    match answer {
        Answer::FileDescriptorResponse(files) => {
            let [file] = &files.file_descriptor_proto[..] else { panic!("one file") };
            Ok(FileDescriptorProto::decode(&file[..]).unwrap().package().to_owned())
        }
        Answer::ErrorResponse(error) => Err(error.error_code),
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_list_is_current_and_a_conversation_is_consistent() {
    let registry = Arc::new(registry());
    let mut one = conversation(&registry);
    assert_eq!(list(&mut one), ["grpc.health.v1.Health"]);
    registry.replace("one", &set("a")).unwrap();
    assert_eq!(package(ask(&mut one, Question::FileContainingSymbol("a.Service".into()))), Err(5));
    assert_eq!(list(&mut one), ["a.Service", "grpc.health.v1.Health"]);
    registry.forget("one");
    let symbol = Question::FileContainingSymbol("a.Service".into());
    assert_eq!(package(ask(&mut one, symbol)).as_deref(), Ok("a"));
    assert_eq!(list(&mut one), ["grpc.health.v1.Health"]);
}

#[test]
fn a_file_is_the_one_that_belongs_to_the_symbol_before_it() {
    let registry = Arc::new(registry());
    registry.replace("one", &set("a")).unwrap();
    registry.replace("two", &set("b")).unwrap();
    let mut one = conversation(&registry);
    for name in ["b.Service", "a.Message", ".b.Message", "a.Service.Call"] {
        let expected = name.trim_start_matches('.').split('.').next();
        let found = package(ask(&mut one, Question::FileContainingSymbol(name.into())));
        assert_eq!(found.as_deref().ok(), expected, "{name}");
        let found = package(ask(&mut one, Question::FileByFilename("api.proto".into())));
        assert_eq!(found.as_deref().ok(), expected, "{name}");
    }
}

#[test]
fn what_grants_do_not_reach_is_as_if_it_did_not_exist() {
    let registry = Arc::new(registry());
    for package in ["a", "b"] {
        registry.replace(package, &set(package)).unwrap();
    }
    let grant = Grant {
        roles: vec!["clerk".to_owned()],
        methods: vec!["/b.Service/Call".parse().unwrap()],
        verbs: vec![Verb::Cancel],
    };
    let rights = |role: &str| Rights::of(&[role.to_owned()], std::slice::from_ref(&grant));
    let caller = |role: &str| Identity::new("shop", role, rights(role));
    let mut clerk = Conversation::new(views(&registry), caller("clerk"));
    let mut other = Conversation::new(views(&registry), caller("other"));
    assert_eq!(list(&mut clerk), ["b.Service", "grpc.health.v1.Health"]);
    assert_eq!(list(&mut other), ["grpc.health.v1.Health"]);
    let error = |conversation: &mut Conversation, question: Question| {
        let Answer::ErrorResponse(error) = ask(conversation, question) else { panic!("shown") };
        (error.error_code, error.error_message)
    };
    for name in ["a.Service", "a.Service.Call", "a.Message", "x.Nothing"] {
        let symbol = Question::FileContainingSymbol(name.into());
        let unknown = (5, format!("{name} is not known here"));
        assert_eq!(error(&mut clerk, symbol.clone()), unknown);
        assert_eq!(error(&mut other, symbol), unknown);
        let numbers = Question::AllExtensionNumbersOfType(name.into());
        assert_eq!(error(&mut clerk, numbers), unknown);
    }
    // Files of one name: that of what is reached, wherever it was asked before.
    let file = Question::FileByFilename("api.proto".into());
    assert_eq!(package(ask(&mut clerk, file.clone())).as_deref(), Ok("b"));
    assert_eq!(error(&mut other, file), (5, "api.proto is not known here".to_owned()));
    // A service that comes later is shown to those whom it was granted to, and no other.
    registry.replace("late", &set("d")).unwrap();
    assert_eq!(list(&mut clerk), ["b.Service", "grpc.health.v1.Health"]);
    assert_eq!(list(&mut conversation(&registry)).len(), 4);
}

#[test]
fn what_is_not_known_is_an_answer_and_does_not_end_the_stream() {
    let mut one = conversation(&Arc::new(registry()));
    let extension = ExtensionRequest { containing_type: "x.Y".into(), extension_number: -1 };
    for question in [
        Question::FileContainingSymbol("x.Y".into()),
        Question::FileContainingSymbol("grpc.health.v1.Health.Nothing".into()),
        Question::FileByFilename("x.proto".into()),
        Question::FileContainingExtension(extension),
    ] {
        assert_eq!(package(ask(&mut one, question)), Err(5));
    }
    let reply = one.reply(ServerReflectionRequest::default());
    assert_eq!(package(reply.message_response.unwrap()), Err(3));
    let of = "grpc.health.v1.HealthCheckRequest".to_owned();
    let answer = ask(&mut one, Question::AllExtensionNumbersOfType(of.clone()));
    let expected = ExtensionNumberResponse { base_type_name: of, extension_number: vec![] };
    assert_eq!(answer, Answer::AllExtensionNumbersResponse(expected));
}

fn file_of(symbol: &str) -> ServerReflectionRequest {
    let message_request = Some(Question::FileContainingSymbol(symbol.to_owned()));
    ServerReflectionRequest { host: String::new(), message_request }
}

/// What the services answer to these questions, with the room that there is left.
async fn answers(
    registry: &Arc<DescriptorRegistry>,
    leaving: Leaving,
    questions: impl Stream<Item = ServerReflectionRequest> + Send + 'static,
) -> Result<Streaming<ServerReflectionResponse>, Status> {
    let (service, _) = services(registry);
    let server = service_fn(move |mut request: HttpRequest<Body>| {
        request.extensions_mut().insert(Identity::trusted("shop"));
        leaving.enter(&"shop".into(), &mut request);
        tower::Service::call(&mut service.clone(), request)
    });
    let answers = ServerReflectionClient::new(server).server_reflection_info(questions).await?;
    Ok(answers.into_inner())
}

#[tokio::test(start_paused = true)]
async fn answers_take_room_and_questions_are_short() {
    let registry = Arc::new(registry());
    let questions = |symbol: String| stream::iter(vec![file_of(&symbol); 100]);
    let service = "grpc.health.v1.Health".to_owned();
    let all = answers(&registry, Leaving::default(), questions(service.clone())).await.unwrap();
    assert_eq!(all.try_collect::<Vec<_>>().await.unwrap().len(), 100);
    // Somebody else has the room.
    let leaving = Leaving::new(1, true);
    let other = leaving.call(&"other".into());
    assert!(other.try_take(256 * 1024 * 1024));
    let mut large = FileDescriptorSet::decode(&set("a")[..]).unwrap();
    let message = large.file[0].message_type[0].clone();
    large.file[0].message_type.extend((0..2_000).map(|number| DescriptorProto {
        name: Some(format!("Message{number}")),
        ..message.clone()
    }));
    registry.replace("large", &large.encode_to_vec()).unwrap();
    let asked = [service, "a.Service".to_owned()].map(|symbol| file_of(&symbol));
    let answered = answers(&registry, leaving, stream::iter(asked)).await.unwrap();
    let answered: Vec<_> = answered.collect().await;
    assert_eq!(answered.len(), 2);
    assert!(answered[0].is_ok(), "what is small comes through");
    assert_eq!(answered[1].as_ref().unwrap_err().code(), Code::ResourceExhausted);
    // A name comes back with each answer that says that it is not known.
    let long = answers(&registry, Leaving::default(), questions("x".repeat(QUESTION_BYTES)));
    let refused = match long.await {
        Ok(mut answers) => answers.message().await.unwrap_err(),
        Err(status) => status,
    };
    assert_eq!(refused.code(), Code::OutOfRange);
}

#[tokio::test(start_paused = true)]
async fn what_an_idle_conversation_has_seen_is_not_kept() {
    let registry = Arc::new(registry());
    registry.replace("one", &set("a")).unwrap();
    let seen = Arc::downgrade(&registry.current());
    let ask = stream::once(ready(file_of("a.Service"))).chain(stream::pending());
    let mut idle = answers(&registry, Leaving::default(), ask).await.unwrap();
    assert!(idle.message().await.unwrap().is_some());
    registry.forget("one");
    let mut other = conversation(&registry);
    assert_eq!(list(&mut other), ["grpc.health.v1.Health"]);
    assert!(seen.upgrade().is_some(), "its files belong together while it asks");
    let _ = timeout(2 * IDLE, idle.message()).await;
    // The services keep views of one moment, of which they have seen nothing yet.
    assert_eq!(seen.strong_count(), 1);
}
