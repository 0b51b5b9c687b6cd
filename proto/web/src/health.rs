//! gRPC's health checks, once for gateways and workers: `Check`, `Watch` and `List`.

use futures_util::Stream;
use futures_util::stream::unfold;
use http::Extensions;
use queuebridge_proto::health::health_check_response::ServingStatus;
use queuebridge_proto::health::health_server::{Health, HealthServer};
use queuebridge_proto::health::{
    HealthCheckRequest, HealthCheckResponse, HealthListRequest, HealthListResponse,
};
use std::collections::HashMap;
use std::future::pending;
use std::pin::Pin;
use std::sync::Arc;
use tokio::sync::watch;
use tonic::{Code, Request, Response, Status};

/// `List` names no more services than this, as gRPC has it.
const MOST: usize = 100;

/// The services that a server answers health checks for.
pub trait Statuses: Send + Sync + 'static {
    /// The status of a service; `None` when it is not known. The empty name is the server
    /// as a whole.
    fn find(&self, service: &str) -> Option<Followed>;

    /// The names that `List` shows the caller whose request has these extensions.
    fn names(&self, caller: &Extensions) -> Vec<String>;
}

/// A status to read and to follow: that of the server, and while it serves that of
/// whatever stands behind it.
#[derive(Clone, Debug)]
pub struct Followed {
    serving: watch::Receiver<bool>,
    behind: Option<watch::Receiver<Option<ServingStatus>>>,
}

impl Followed {
    /// The status of the server itself: whether it serves.
    #[must_use]
    pub fn server(serving: watch::Receiver<bool>) -> Self {
        Self { serving, behind: None }
    }

    /// The status of what stands behind the server; `None` until that is known.
    #[must_use]
    pub fn behind(self, status: watch::Receiver<Option<ServingStatus>>) -> Self {
        Self { behind: Some(status), ..self }
    }

    /// The status now, if it is known.
    fn now(&mut self) -> Option<ServingStatus> {
        if !*self.serving.borrow_and_update() {
            return Some(ServingStatus::NotServing);
        }
        match &mut self.behind {
            Some(behind) => *behind.borrow_and_update(),
            None => Some(ServingStatus::Serving),
        }
    }

    /// Returns after a change.
    async fn changed(&mut self) {
        let behind = async {
            match &mut self.behind {
                Some(behind) => behind.changed().await.is_ok(),
                None => false,
            }
        };
        // What changes no more is waited for in vain.
        let or_never = async |changed: bool| {
            if !changed {
                pending().await
            }
        };
        tokio::select! {
            () = async { or_never(self.serving.changed().await.is_ok()).await } => {}
            () = async { or_never(behind.await).await } => {}
        }
    }

    /// The next status that is not `last`.
    async fn next(&mut self, last: Option<ServingStatus>) -> ServingStatus {
        loop {
            match self.now() {
                Some(now) if Some(now) != last => return now,
                _ => self.changed().await,
            }
        }
    }
}

/// The service over what a server knows.
#[derive(Debug)]
pub struct HealthService<S>(Arc<S>);

/// The service, ready to be served.
pub fn service<S: Statuses>(statuses: S) -> HealthServer<HealthService<S>> {
    HealthServer::new(HealthService(Arc::new(statuses)))
}

fn answer(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status as i32 }
}

#[tonic::async_trait]
impl<S: Statuses> Health for HealthService<S> {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let Some(mut followed) = self.0.find(&request.get_ref().service) else {
            return Err(Status::not_found("the service is not known"));
        };
        Ok(Response::new(answer(followed.next(None).await)))
    }

    async fn list(
        &self,
        request: Request<HealthListRequest>,
    ) -> Result<Response<HealthListResponse>, Status> {
        let names = self.0.names(request.extensions());
        if names.len() > MOST {
            let message =
                format!("there are {} services, and at most {MOST} are listed", names.len());
            return Err(Status::new(Code::ResourceExhausted, message));
        }
        // All are looked for before the first is waited for.
        let found = names.into_iter().filter_map(|name| Some((self.0.find(&name)?, name)));
        let mut statuses = HashMap::new();
        for (mut followed, name) in found.collect::<Vec<_>>() {
            statuses.insert(name, answer(followed.next(None).await));
        }
        Ok(Response::new(HealthListResponse { statuses }))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let followed = self.0.find(&request.get_ref().service);
        let statuses = unfold((followed, None), async |(mut followed, last)| {
            let status = match (&mut followed, last) {
                (Some(followed), last) => followed.next(last).await,
                (None, None) => ServingStatus::ServiceUnknown,
                // The caller waits for it to become known.
                (None, Some(_)) => pending().await,
            };
            Some((Ok(answer(status)), (followed, Some(status))))
        });
        Ok(Response::new(Box::pin(statuses)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{FutureExt, StreamExt};

    struct One {
        serving: watch::Receiver<bool>,
        behind: watch::Receiver<Option<ServingStatus>>,
        names: usize,
    }

    impl Statuses for One {
        fn find(&self, service: &str) -> Option<Followed> {
            let server = Followed::server(self.serving.clone());
            match service {
                "" => Some(server),
                "a.Behind" => Some(server.behind(self.behind.clone())),
                _ => None,
            }
        }

        fn names(&self, _caller: &Extensions) -> Vec<String> {
            let own = ["", "a.Behind"].map(str::to_owned);
            own.into_iter().chain((2..self.names).map(|number| number.to_string())).collect()
        }
    }

    fn request(service: &str) -> Request<HealthCheckRequest> {
        Request::new(HealthCheckRequest { service: service.to_owned() })
    }

    #[tokio::test]
    async fn a_watch_tells_each_change_once_and_one_of_an_unknown_service_stays() {
        let (serving, server) = watch::channel(true);
        let (behind, upstream) = watch::channel(None);
        let health = HealthService(Arc::new(One { serving: server, behind: upstream, names: 2 }));
        let watch = async |service| health.watch(request(service)).await.unwrap().into_inner();
        let (mut all, mut one, mut unknown) =
            (watch("").await, watch("a.Behind").await, watch("a.Other").await);
        let next = |stream: &mut <HealthService<One> as Health>::WatchStream| {
            let told = stream.next().now_or_never()?;
            Some(told.expect("it has no end").unwrap().status())
        };
        assert_eq!(next(&mut unknown), Some(ServingStatus::ServiceUnknown));
        assert_eq!(next(&mut all), Some(ServingStatus::Serving));
        assert_eq!(next(&mut one), None, "nobody knows yet");
        for status in [ServingStatus::Serving, ServingStatus::NotServing, ServingStatus::Serving] {
            behind.send(Some(status)).unwrap();
            assert_eq!(next(&mut one), Some(status));
            behind.send(Some(status)).unwrap();
            assert_eq!(next(&mut one), None);
        }
        serving.send(false).unwrap();
        assert_eq!(next(&mut all), Some(ServingStatus::NotServing));
        assert_eq!(next(&mut one), Some(ServingStatus::NotServing));
        drop((serving, behind));
        for stream in [&mut all, &mut one, &mut unknown] {
            assert_eq!(next(stream), None);
        }
    }

    #[tokio::test]
    async fn a_check_and_a_list_tell_what_is_now() {
        let (_serving, server) = watch::channel(true);
        let (_behind, upstream) = watch::channel(Some(ServingStatus::NotServing));
        let one = |names| One { serving: server.clone(), behind: upstream.clone(), names };
        let health = HealthService(Arc::new(one(2)));
        for (service, expected) in [
            ("", Ok(ServingStatus::Serving)),
            ("a.Behind", Ok(ServingStatus::NotServing)),
            ("a.Other", Err(Code::NotFound)),
        ] {
            let told = health.check(request(service)).await;
            assert_eq!(told.map(|told| told.get_ref().status()).map_err(|s| s.code()), expected);
        }
        let listed = health.list(Request::new(HealthListRequest {})).await.unwrap().into_inner();
        let mut listed: Vec<_> =
            listed.statuses.into_iter().map(|(name, of)| (name, of.status())).collect();
        listed.sort();
        let expected = [("", ServingStatus::Serving), ("a.Behind", ServingStatus::NotServing)];
        assert_eq!(listed, expected.map(|(name, status)| (name.to_owned(), status)));
        let many = HealthService(Arc::new(one(MOST + 1)));
        let refused = many.list(Request::new(HealthListRequest {})).await.unwrap_err();
        assert_eq!(refused.code(), Code::ResourceExhausted);
    }
}
