use super::*;
use crate::admission::overloaded;
use crate::front::{Front, Protocols};
use crate::listener::Listener;
use futures_util::FutureExt;
use futures_util::stream::{self, StreamExt};
use http::header::{CONTENT_TYPE, HeaderMap, HeaderValue};
use http::uri::PathAndQuery;
use http_body::{Body as HttpBody, Frame};
use http_body_util::{BodyExt, Full};
use queuebridge_proto::raw::RawCodec;
use queuebridge_web::Services;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::net::TcpListener;
use tonic::client::Grpc;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Streaming};
use tower::layer::layer_fn;
use tower::{ServiceExt, service_fn};

const MIB: usize = 1024 * 1024;
/// What is counted of it is a mebibyte.
const ANSWER: usize = MIB + FREE;

fn leaving(all: usize, alone: bool) -> Leaving {
    Leaving(Budget::sized(all, alone))
}

fn call(leaving: &Leaving, tenant: &str) -> CallRoom {
    leaving.call(&tenant.into())
}

fn taken(leaving: &Leaving) -> usize {
    leaving.0.taken().0
}

/// The answer of gRPC that is one message.
fn answer(bytes: usize) -> Response<Body> {
    let mut message = vec![0; 5 + bytes];
    message[1..5].copy_from_slice(&u32::try_from(bytes).unwrap().to_be_bytes());
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), 0.into())]);
    let body = Full::new(Bytes::from(message)).with_trailers(async { Some(Ok(trailers)) });
    let grpc = HeaderValue::from_static("application/grpc");
    Response::builder().header(CONTENT_TYPE, grpc).body(Body::new(body)).unwrap()
}

#[tokio::test]
async fn a_tenant_leaves_a_quarter_of_the_room_to_the_others() {
    let leaving = leaving(4 * MIB, false);
    let greedy: Vec<_> = (0..5).map(|_| call(&leaving, "greedy")).collect();
    let held = greedy.iter().filter(|room| room.try_take(ANSWER)).count();
    assert_eq!(held, 3);
    let other = call(&leaving, "other");
    assert!(other.try_take(ANSWER) && !other.try_take(1), "all together");
    assert!(call(&leaving, "greedy").try_take(FREE), "small answers always come through");
    drop(greedy);
    assert!(other.try_take(MIB) && !other.try_take(2 * MIB));
    drop(other);
    assert_eq!(leaving.0.taken(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_waits_gets_room_when_others_have_gone_or_is_refused() {
    let leaving = leaving(4 * MIB, true);
    let (first, second) = (call(&leaving, "a"), call(&leaving, "b"));
    first.take(2 * MIB).await.unwrap();
    first.take(2 * MIB).await.unwrap();
    let begun = Instant::now();
    let status = second.take(ANSWER).await.unwrap_err();
    assert_eq!((status.code(), begun.elapsed()), (Code::ResourceExhausted, TURN));
    assert_eq!(taken(&leaving), 4 * MIB - FREE, "nothing is held by one that was refused");
    let gives = async {
        tokio::time::sleep(TURN / 2).await;
        first.give_back(MIB / 2);
        tokio::time::sleep(TURN / 4).await;
        first.give_back(MIB);
    };
    let (waited, ()) = tokio::join!(second.take(ANSWER), gives);
    waited.unwrap();
    assert_eq!(begun.elapsed(), TURN + TURN / 4 * 3);
    // One that is dropped while it waits.
    assert!(second.take_next(3 * MIB).now_or_never().is_none());
    drop((first, second));
    assert_eq!(leaving.0.taken(), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn whoever_keeps_something_does_not_wait_but_for_the_next_item() {
    let leaving = leaving(4 * MIB, true);
    let other = call(&leaving, "a");
    other.take(3 * MIB + FREE).await.unwrap();
    let room = call(&leaving, "a");
    room.take(ANSWER).await.unwrap();
    let begun = Instant::now();
    assert!(room.take(1).await.is_err());
    assert_eq!(begun.elapsed(), Duration::ZERO);
    assert!(room.take_next(1).await.is_err());
    assert_eq!(begun.elapsed(), TURN);
    let goes = async {
        tokio::time::sleep(TURN / 2).await;
        drop(other);
    };
    let (waited, ()) = tokio::join!(room.take_next(MIB), goes);
    assert!(waited.is_ok());
    assert_eq!(taken(&leaving), 2 * MIB);
}

#[tokio::test]
async fn a_stream_keeps_nothing_of_items_that_were_left_out_on_the_way() {
    let leaving = leaving(4 * MIB, true);
    let room = call(&leaving, "a");
    // Skipped by a reader that goes on from a number, or compressed to next to nothing.
    for _ in 0..100 {
        assert!(room.try_next(ANSWER));
        assert!(taken(&leaving) <= 2 * ANSWER);
    }
    // What is on its way in frames is counted, however many items follow.
    let mut frames = Vec::new();
    for _ in 0..2 {
        assert!(room.try_next(ANSWER));
        frames.push(room.leave(Bytes::from(vec![0; ANSWER])));
    }
    assert!(!room.try_next(2 * ANSWER));
    frames.clear();
    assert!(room.try_next(2 * ANSWER));
}

#[tokio::test(start_paused = true)]
async fn of_a_call_that_waits_nothing_else_is_taken() {
    let leaving = leaving(4 * MIB, true);
    let other = call(&leaving, "a");
    other.take(3 * MIB + FREE).await.unwrap();
    let room = call(&leaving, "a");
    let (large, small) = (room.take(2 * MIB + FREE), room.take(MIB));
    tokio::pin!(large, small);
    assert!((&mut large).now_or_never().is_none());
    assert!(!room.try_take(1) && (&mut small).now_or_never().is_none());
    other.give_back(MIB);
    let (large, small) = tokio::join!(large, small);
    assert!(large.is_ok() && small.is_err(), "the second one would wait for others and keep");
    other.give_back(MIB);
    room.take(MIB).await.unwrap();
    assert_eq!(taken(&leaving), 4 * MIB);
    // Refused together, and not one after the other.
    let begun = Instant::now();
    let clones = [room.clone(), room.clone(), room.clone()];
    let all = stream::iter(&clones).map(|room| room.take_next(MIB)).buffer_unordered(3);
    assert!(all.collect::<Vec<_>>().await.iter().all(Result::is_err));
    assert_eq!(begun.elapsed(), TURN);
}

/// A body in three pieces and its trailers, of which `taken` bytes have room.
fn in_pieces(room: CallRoom, taken: usize) -> Body {
    assert!(room.try_take(taken));
    let piece = || Ok::<_, Status>(Frame::data(Bytes::from(vec![7; MIB])));
    let trailers = Ok(Frame::trailers(HeaderMap::from_iter([("a".parse().unwrap(), 1.into())])));
    let frames = [piece(), piece(), piece(), trailers];
    let body = Body::new(http_body_util::StreamBody::new(stream::iter(frames)));
    room.answer(Response::new(body)).into_body()
}

#[tokio::test]
async fn an_answer_holds_its_room_until_its_bytes_have_left() {
    let leaving = leaving(4 * MIB, true);
    let mut body = in_pieces(call(&leaving, "a"), 3 * MIB + FREE);
    assert_eq!(taken(&leaving), 3 * MIB, "nobody reads");
    let first = body.frame().await.unwrap().unwrap().into_data().unwrap();
    let second = body.frame().await.unwrap().unwrap().into_data().unwrap();
    assert_eq!((first.len(), taken(&leaving)), (MIB, 3 * MIB), "handed over, and not sent");
    drop(first);
    assert_eq!(taken(&leaving), 2 * MIB);
    let (sent, rest) = (second.slice(..10), second.slice(10..));
    drop((second, sent));
    assert_eq!(taken(&leaving), 2 * MIB, "its buffer is as large as before");
    let third = body.frame().await.unwrap();
    assert!(!body.is_end_stream());
    let trailers = body.frame().await.unwrap().unwrap().into_trailers().unwrap();
    assert_eq!(trailers["a"], "1");
    assert_eq!(taken(&leaving), 2 * MIB - FREE, "what is left of it is free now");
    assert!(body.frame().await.is_none());
    drop(body);
    assert_eq!(taken(&leaving), 2 * MIB - FREE);
    drop(rest);
    assert_eq!(taken(&leaving), MIB - FREE);
    drop(third);
    assert_eq!(leaving.0.taken(), (0, 0));
}

#[tokio::test]
async fn a_call_that_goes_away_gives_its_room_back() {
    let leaving = leaving(4 * MIB, true);
    let kept_elsewhere = call(&leaving, "a");
    drop(in_pieces(kept_elsewhere.clone(), 3 * MIB));
    assert_eq!(taken(&leaving), 0, "with its answer");
    let mut body = in_pieces(call(&leaving, "a"), 3 * MIB);
    let frame = body.frame().await;
    drop(body);
    assert_eq!(taken(&leaving), MIB - FREE);
    drop(frame);
    let mut request = Request::new(Body::empty());
    let room = leaving.enter(&"a".into(), &mut request).unwrap();
    let handler = async move {
        let of = CallRoom::of(&tonic::Request::from_http(request));
        of.take(3 * MIB).await.unwrap();
        std::future::pending::<()>().await;
        drop(room);
    };
    let mut handler = Box::pin(handler);
    assert!((&mut handler).now_or_never().is_none());
    assert_eq!(taken(&leaving), 3 * MIB - FREE);
    drop(handler);
    assert_eq!(taken(&leaving), 0, "before it has one");
}

/// What takes more than it answers, and answers more than it takes.
#[tokio::test]
async fn nothing_is_left_of_what_does_not_fit_its_answer() {
    let leaving = leaving(8 * MIB, true);
    for bytes in [0, 1, FREE, FREE + 1, MIB, 2 * MIB + 1, 7 * MIB] {
        let room = call(&leaving, "a");
        let body = in_pieces(room.clone(), bytes);
        let collected = body.collect().await.unwrap();
        assert_eq!(collected.trailers().unwrap()["a"], "1");
        assert_eq!(collected.to_bytes().len(), 3 * MIB);
        assert_eq!(leaving.0.taken(), (0, 0), "{bytes}");
        room.give_back(MIB);
        assert_eq!(leaving.0.taken(), (0, 0), "{bytes}");
    }
    let before = Full::new(Bytes::from_static(b"small"));
    let small = call(&leaving, "a").answer(Response::new(Body::new(before))).into_body();
    assert_eq!(small.size_hint().exact(), Some(5));
    let room = call(&leaving, "a");
    let large = Body::new(Full::new(Bytes::from(vec![0; MIB])));
    assert!(room.try_take(MIB));
    let large = room.answer(Response::new(large)).into_body();
    assert_eq!((large.size_hint().exact(), large.is_end_stream()), (Some(MIB as u64), false));
}

/// Services that load what they answer.
fn loading() -> impl Services {
    service_fn(|request: Request<Body>| async {
        CallRoom::of(&tonic::Request::from_http(request)).take(ANSWER).await.unwrap();
        Ok::<_, Infallible>(answer(ANSWER))
    })
}

#[tokio::test]
async fn a_translated_answer_holds_its_room_until_the_translation_has_left() {
    for (kind, body) in [
        ("application/proto", &[][..]),
        ("application/grpc-web+proto", &[0; 5]),
        ("application/grpc-web-text", b"AAAAAAA="),
        ("application/grpc", &[0; 5]),
    ] {
        let leaving = leaving(4 * MIB, true);
        let protocols =
            Protocols { leaving: leaving.clone(), max_request_bytes: 1024, ..Protocols::default() };
        let front = Front::new(loading(), Arc::new(protocols));
        let request = Request::post("/a.B/C")
            .header(CONTENT_TYPE, kind)
            .header("connect-protocol-version", "1")
            .body(Body::new(Full::new(Bytes::from_static(body))))
            .unwrap();
        let mut body = front.oneshot(request).await.unwrap().into_body();
        assert_eq!(taken(&leaving), MIB, "{kind}: nobody reads");
        let mut frames = Vec::new();
        while let Some(frame) = body.frame().await {
            frames.push(frame.unwrap());
        }
        drop(body);
        let bytes = frames.iter().filter_map(Frame::data_ref).map(Bytes::len).sum::<usize>();
        assert!(bytes >= ANSWER, "{kind}: {bytes}");
        assert!(taken(&leaving) > 0, "{kind}: handed over, and not sent");
        drop(frames);
        assert_eq!(leaving.0.taken(), (0, 0), "{kind}");
    }
}

/// A server whose answers take room: at once, or when there is some.
async fn serve(leaving: Leaving) -> SocketAddr {
    let socket = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = socket.local_addr().unwrap();
    let service = service_fn(move |mut request: Request<Body>| {
        let leaving = leaving.clone();
        async move {
            let tenant: Arc<str> = request.headers()["x-tenant"].to_str().unwrap().into();
            let room = leaving.enter(&tenant, &mut request).unwrap();
            let at_once = request.uri().path() == "/a.B/AtOnce";
            let has = if at_once { room.try_take(ANSWER) } else { room.take(ANSWER).await.is_ok() };
            let response = if has { answer(ANSWER) } else { overloaded().into_http() };
            Ok::<_, Infallible>(room.answer(response))
        }
    });
    let (server, incoming) = Listener::from(socket).open();
    let server = server
        .layer(layer_fn(move |_| service.clone()))
        .add_routes(tonic::service::Routes::default());
    tokio::spawn(server.serve_with_incoming(incoming));
    address
}

/// A client that takes no more of an answer than a window, before it reads.
async fn client(address: SocketAddr) -> Channel {
    let endpoint = Endpoint::from_shared(format!("http://{address}")).unwrap();
    let endpoint = endpoint.initial_stream_window_size(65_535);
    endpoint.initial_connection_window_size(16 * 1024 * 1024).connect().await.unwrap()
}

async fn ask(
    channel: &Channel,
    method: &'static str,
    tenant: &'static str,
) -> Result<Streaming<Bytes>, Code> {
    let mut grpc = Grpc::new(channel.clone()).max_decoding_message_size(usize::MAX);
    grpc.ready().await.unwrap();
    let mut request = tonic::Request::new(Bytes::new());
    request.metadata_mut().insert("x-tenant", tenant.parse().unwrap());
    let answer = grpc.server_streaming(request, PathAndQuery::from_static(method), RawCodec).await;
    answer.map(tonic::Response::into_inner).map_err(|status| status.code())
}

#[tokio::test]
async fn a_client_that_does_not_read_holds_its_room_and_no_more() {
    let (at_once, patiently) = ("/a.B/AtOnce", "/a.B/Patiently");
    let leaving = leaving(4 * MIB, false);
    let address = serve(leaving.clone()).await;
    let silent = client(address).await;
    let mut unread = Vec::new();
    for _ in 0..3 {
        unread.push(ask(&silent, at_once, "silent").await.unwrap());
    }
    // Each answer is as a whole in a buffer of HTTP/2 by now or soon, or waits before it.
    let refused = ask(&silent, at_once, "silent").await;
    assert_eq!(refused.err(), Some(Code::ResourceExhausted));
    let other = client(address).await;
    let answered = ask(&other, at_once, "other").await.unwrap();
    assert_eq!(ask(&other, at_once, "other").await.err(), Some(Code::ResourceExhausted));
    // It reads one, and goes away from another.
    let message = unread.pop().unwrap().message().await.unwrap().unwrap();
    assert_eq!(message.len(), ANSWER);
    unread.push(ask(&silent, patiently, "silent").await.unwrap());
    drop(unread.pop());
    unread.push(ask(&silent, patiently, "silent").await.unwrap());
    assert_eq!(ask(&silent, at_once, "silent").await.err(), Some(Code::ResourceExhausted));
    drop((silent, unread, answered));
    call(&leaving, "third").take(3 * MIB + FREE).await.unwrap();
}
