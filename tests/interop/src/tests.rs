//! Through the routes, without a socket: what a client in another language cannot
//! see, such as the compressed flag of a message, and when an answer comes.

use super::*;
use crate::testing::test_service_client::TestServiceClient;
use crate::testing::unimplemented_service_client::UnimplementedServiceClient;
use crate::testing::{
    BoolValue, EchoStatus, Empty, Payload, ResponseParameters, SimpleRequest,
    StreamingInputCallRequest, StreamingOutputCallRequest,
};
use futures_util::{StreamExt, poll, stream};
use queuebridge_proto::UnixMillis;
use std::time::Duration;
use tokio::time::Instant;
use tonic::{Code, Request};

mod wire;

fn client() -> TestServiceClient<Routes> {
    TestServiceClient::new(routes(Clock::system()))
}

fn sizes(sizes: &[i32]) -> StreamingOutputCallRequest {
    let parameters = |&size| ResponseParameters { size, ..Default::default() };
    StreamingOutputCallRequest {
        response_parameters: sizes.iter().map(parameters).collect(),
        ..Default::default()
    }
}

fn length(payload: Option<Payload>) -> usize {
    payload.unwrap_or_default().body.len()
}

#[tokio::test]
async fn a_message_that_was_to_be_compressed_has_to_be() {
    let expecting = |value| SimpleRequest {
        expect_compressed: Some(BoolValue { value }),
        response_size: 3,
        ..Default::default()
    };
    let pieces = |value| {
        let expect_compressed = Some(BoolValue { value });
        let payload = Some(Payload { body: vec![0; 40].into(), ..Default::default() });
        stream::iter(vec![StreamingInputCallRequest { payload, expect_compressed }; 2])
    };
    let mut plain = client();
    let gzip = client().send_compressed(CompressionEncoding::Gzip);

    let refused = plain.unary_call(expecting(true)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    let refused = plain.streaming_input_call(pieces(true)).await.unwrap_err();
    assert_eq!(refused.code(), Code::InvalidArgument);
    for (client, value) in [(&plain, false), (&gzip, true), (&gzip, false)] {
        let mut client = client.clone();
        let answer = client.unary_call(expecting(value)).await.unwrap().into_inner();
        assert_eq!(length(answer.payload), 3);
        let answer = client.streaming_input_call(pieces(value)).await.unwrap().into_inner();
        assert_eq!(answer.aggregated_payload_size, 80);
    }
}

#[tokio::test]
async fn after_a_wish_for_a_status_nothing_more_is_answered() {
    let wish = EchoStatus { code: 10, message: "enough".to_owned() };
    let wish = StreamingOutputCallRequest { response_status: Some(wish), ..sizes(&[4]) };
    let requests = stream::iter([sizes(&[1, 2]), wish, sizes(&[3])]);
    let mut answers = client().full_duplex_call(requests).await.unwrap().into_inner();
    for expected in [1, 2] {
        assert_eq!(length(answers.message().await.unwrap().unwrap().payload), expected);
    }
    let status = answers.message().await.unwrap_err();
    assert_eq!((status.code(), status.message()), (Code::Aborted, "enough"));
    assert!(answers.next().await.is_none());
}

#[tokio::test]
async fn sizes_and_types_that_cannot_be_are_refused() {
    let largest = i32::try_from(MAX_BODY_BYTES).unwrap();
    for (response_type, response_size) in [(0, -1), (0, largest + 1), (7, 1)] {
        let request = SimpleRequest { response_type, response_size, ..Default::default() };
        let status = client().unary_call(request).await.unwrap_err();
        assert_eq!(status.code(), Code::InvalidArgument);
        let request = StreamingOutputCallRequest { response_type, ..sizes(&[response_size]) };
        let mut answers = client().streaming_output_call(request).await.unwrap().into_inner();
        assert_eq!(answers.message().await.unwrap_err().code(), Code::InvalidArgument);
    }
}

#[tokio::test(start_paused = true)]
async fn intervals_are_waited_for_before_each_answer() {
    let mut request = sizes(&[1, 1, 1]);
    for (parameters, micros) in request.response_parameters.iter_mut().zip([2_000_000, 0, 500_000])
    {
        parameters.interval_us = micros;
    }
    let start = Instant::now();
    let mut answers = client().streaming_output_call(request).await.unwrap().into_inner();
    for millis in [2_000, 2_000, 2_500] {
        assert!(answers.message().await.unwrap().is_some());
        assert_eq!(start.elapsed().as_millis(), millis);
    }
}

#[tokio::test]
async fn half_duplex_answers_after_the_last_request() {
    let (say, said) = tokio::sync::mpsc::unbounded_channel();
    let said = stream::unfold(said, |mut said| async move { Some((said.recv().await?, said)) });
    let mut answers = client().half_duplex_call(said).await.unwrap().into_inner();
    say.send(sizes(&[1, 2])).unwrap();
    say.send(sizes(&[3])).unwrap();
    assert!(poll!(answers.next()).is_pending());
    drop(say);
    let heard: Vec<_> = answers.map(|answer| length(answer.unwrap().payload)).collect().await;
    assert_eq!(heard, [1, 2, 3]);
}

#[tokio::test(start_paused = true)]
async fn a_cacheable_answer_never_repeats_itself() {
    let clock = Clock::simulated(UnixMillis(1_700_000_000_000));
    let mut client = TestServiceClient::new(routes(clock));
    let mut told = Vec::new();
    for _ in 0..2 {
        let response = client.cacheable_unary_call(SimpleRequest::default()).await.unwrap();
        assert_eq!(response.metadata().get("cache-control").unwrap(), "max-age=60, public");
        let body = response.into_inner().payload.unwrap().body;
        told.push(String::from_utf8(body.into()).unwrap().parse::<u64>().unwrap());
        tokio::time::advance(Duration::from_nanos(1)).await;
    }
    assert_eq!(told[0], 1_700_000_000_000_000_000);
    assert_eq!(told[1], told[0] + 1);
}

#[tokio::test]
async fn what_is_not_there_is_unimplemented() {
    let status = client().unimplemented_call(Empty {}).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
    let mut nobody = UnimplementedServiceClient::new(routes(Clock::system()));
    let status = nobody.unimplemented_call(Request::new(Empty {})).await.unwrap_err();
    assert_eq!(status.code(), Code::Unimplemented);
}
