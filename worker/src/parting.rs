//! Large messages between two halves of tonic in one process.
//!
//! Tonic makes room for a message when it has read its prefix, however much of it is there
//! already. Over a socket that is little. Here a message comes in one piece with its
//! prefix, and would be moved into twice the memory, where an answer then rests for as
//! long as its job. So the prefix goes ahead.

use crate::requests::{Breaks, broken_off};
use bytes::Bytes;
use futures_util::TryFutureExt;
use futures_util::future::MapOk;
use http::{Request, Response};
use http_body::{Frame, SizeHint};
use std::pin::Pin;
use std::task::{Context, Poll};
use tonic::Status;
use tonic::body::Body;
use tonic::codegen::Service;
use tonic::service::Routes;

/// What stands before each message of gRPC: whether it is compressed, and its length.
const PREFIX: usize = 5;
/// Smaller ones cost less than the parting.
const LARGE: usize = 8 * 1024;

/// Services whose large messages are parted from their prefixes, both ways.
#[derive(Clone)]
pub(crate) struct Parting {
    pub(crate) services: Routes,
    /// How the request may end before it is whole.
    pub(crate) breaks: Option<Breaks>,
}

type Called = <Routes as Service<Request<Body>>>::Future;

impl Service<Request<Body>> for Parting {
    type Response = Response<Parted>;
    type Error = <Routes as Service<Request<Body>>>::Error;
    type Future = MapOk<Called, fn(Response<Body>) -> Response<Parted>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        <Routes as Service<Request<Body>>>::poll_ready(&mut self.services, context)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let breaks = self.breaks.clone();
        let request =
            request.map(|body| Body::new(Parted { breaks: wait(breaks), ..Parted::new(body) }));
        self.services.call(request).map_ok(|response| response.map(Parted::new))
    }
}

/// A body whose frames begin with a prefix, as tonic's encoder makes them.
pub(crate) struct Parted {
    body: Body,
    /// What follows the prefix that was handed on.
    rest: Bytes,
    /// Ends it with an error, wherever it is read by then.
    breaks: Option<Break>,
}

type Break = Pin<Box<dyn Future<Output = ()> + Send>>;

fn wait(breaks: Option<Breaks>) -> Option<Break> {
    breaks.map(|breaks| Box::pin(breaks.happened()) as Break)
}

impl Parted {
    fn new(body: Body) -> Self {
        Self { body, rest: Bytes::new(), breaks: None }
    }
}

impl http_body::Body for Parted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if !self.rest.is_empty() {
            return Poll::Ready(Some(Ok(Frame::data(std::mem::take(&mut self.rest)))));
        }
        let polled = Pin::new(&mut self.body).poll_frame(context);
        // What is here is handed on before the end is looked at.
        if polled.is_pending()
            && let Some(breaks) = &mut self.breaks
            && breaks.as_mut().poll(context).is_ready()
        {
            self.breaks = None;
            self.body = Body::empty();
            return Poll::Ready(Some(Err(broken_off())));
        }
        polled.map_ok(|frame| match frame.into_data() {
            Ok(mut data) if data.len() > LARGE => {
                let prefix = data.split_to(PREFIX);
                self.rest = data;
                Frame::data(prefix)
            }
            Ok(data) => Frame::data(data),
            Err(trailers) => trailers,
        })
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        // Of what is in hand nobody asks.
        if self.rest.is_empty() { self.body.size_hint() } else { SizeHint::default() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::stream;
    use http_body_util::{BodyExt, StreamBody};

    #[tokio::test]
    async fn only_what_is_large_is_parted_and_nothing_is_lost() {
        let frames = [10, LARGE, LARGE + 1, 3].map(|len| vec![1; len].into());
        let data = stream::iter(frames.map(|data| Ok::<_, Status>(Frame::<Bytes>::data(data))));
        let mut parted = Parted::new(Body::new(StreamBody::new(data)));
        let mut seen = Vec::new();
        while let Some(frame) = parted.frame().await {
            seen.push(frame.unwrap().into_data().unwrap().len());
        }
        assert_eq!(seen, [10, LARGE, PREFIX, LARGE + 1 - PREFIX, 3]);
    }
}
