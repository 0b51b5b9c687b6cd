//! Streams of submissions whose acknowledgements nobody reads.

use crate::gathers::{METHOD, one_queue};
use http_body_util::Full;
use prost::Message;
use queuebridge_proto::v1::SubmitRequest;
use queuebridge_proto::v1::jobs_server::Jobs;
use std::time::Duration;
use tokio::time::sleep;
use tonic::Streaming;
use tonic::codec::Codec;
use tonic_prost::ProstCodec;

/// What clients send of several messages.
fn framed(requests: &[SubmitRequest]) -> Vec<u8> {
    let mut body = Vec::new();
    for request in requests {
        body.push(0);
        body.extend(u32::try_from(request.encoded_len()).unwrap().to_be_bytes());
        request.encode(&mut body).unwrap();
    }
    body
}

#[tokio::test(start_paused = true)]
async fn submissions_go_on_whether_their_acknowledgements_are_read_or_not() {
    let world = one_queue();
    let request = SubmitRequest { method: METHOD.into(), ..SubmitRequest::default() };
    let decoder = ProstCodec::<SubmitRequest, SubmitRequest>::default().decoder();
    let body = Full::<bytes::Bytes>::from(framed(&vec![request; 300]));
    let requests = world.asking(Streaming::new_request(decoder, body, None, None));
    let acknowledgements = world.service.submit_stream(requests).await.unwrap();
    let queue = &world.station("w").queue;
    // As many as may be under way; the rest is not read.
    while queue.counts().visible < 256 {
        sleep(Duration::from_millis(1)).await;
    }
    sleep(Duration::from_secs(60)).await;
    assert_eq!(queue.counts().visible, 256);
    drop(acknowledgements);
    // With their reader gone no more are taken.
    sleep(Duration::from_secs(60)).await;
    assert_eq!(queue.counts().visible, 256);
}
