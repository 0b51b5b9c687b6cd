//! Calls of routed methods as they are: whatever a client's stub sends travels through the
//! queue as bytes, and what the handler says comes back as the answer to the call.
//!
//! Nothing here knows the schema, nor whether a method takes or gives streams.

mod answer;
mod collect;
pub mod controls;
mod later;
pub(crate) mod refusal;
mod whole;

use crate::audit;
use crate::config::{Abandoned, Guarantee, Mode, RouteConfig};
use crate::follow::{Follow, Step, WINDOW};
use crate::identity::Identity;
use crate::jobs::{JobsService, deadline_of, trace_of};
use crate::leaving::CallRoom;
use crate::lookup::Found;
use crate::reading::Reading;
use crate::route::Route;
use crate::submission::CallShape;
use crate::submit::{Prepared, Ticket};
use crate::waiter::Interest;
use answer::{Answer, Answers};
use bytes::Bytes;
use collect::{Collected, MOST, collect};
use controls::Controls;
use later::Later;
use queuebridge_proto::error::invalid_field;
use queuebridge_proto::metadata::from_call;
use queuebridge_proto::raw::RawCodec;
use queuebridge_proto::time::duration_to_proto;
use queuebridge_proto::v1::gather_rule::Answer as Answered;
use queuebridge_proto::v1::{Metadatum, SubmitRequest};
use queuebridge_proto::{JobId, MethodName};
use queuebridge_web::CameCompressed;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;
use tokio::time::{Instant, timeout_at};
use tonic::body::Body;
use tonic::codec::CompressionEncoding;
use tonic::server::{Grpc, StreamingService};
use tonic::{Request, Response, Status, Streaming};
use whole::whole;

/// How long the result of a job is kept whose id nobody knows, beyond the time that its
/// caller has to take it.
const RETENTION: Duration = Duration::from_secs(120);
/// What is kept back of the caller's deadline, so that a ticket arrives in time.
const MARGIN: Duration = Duration::from_millis(100);
/// So much before a deadline we say that it has passed: the server around us measures it,
/// too, and would answer `CANCELLED`.
const EARLIER: Duration = Duration::from_millis(5);

/// The deadline of a call is that of its host, and its caller has set none: an extension of
/// its request. Handlers are told only what callers set.
#[derive(Clone, Copy, Debug)]
pub(crate) struct HostsDeadline;

/// Answers direct calls. Cheap to clone.
#[derive(Clone)]
pub struct Typed {
    jobs: JobsService,
    /// The largest message.
    most: usize,
}

impl Typed {
    /// Answers calls by jobs, with messages of at most `most` bytes.
    #[must_use]
    pub fn new(jobs: JobsService, most: usize) -> Self {
        Self { jobs, most }
    }

    /// Answers one call, whose extensions say who the caller is.
    pub async fn call(&self, request: http::Request<Body>) -> http::Response<Body> {
        let path = request.uri().path();
        let Some(route) = self.jobs.door().routes.find(path).cloned() else {
            return refusal::no_route().into_http();
        };
        let Ok(method) = MethodName::parse(path) else { return refusal::no_route().into_http() };
        let gzip = CompressionEncoding::Gzip;
        let zstd = CompressionEncoding::Zstd;
        let mut grpc = Grpc::new(RawCodec)
            .max_decoding_message_size(self.most)
            .max_encoding_message_size(self.most);
        // Many clients say that they accept compression; one that compresses wants it.
        if request.extensions().get::<CameCompressed>().is_some() {
            grpc = grpc.send_compressed(gzip).send_compressed(zstd);
        }
        let (jobs, begun) = (self.jobs.clone(), Instant::now());
        let hosts_deadline = request.extensions().get::<HostsDeadline>().is_some();
        let call = Call { jobs, route, method, begun, hosts_deadline };
        let request = request.map(whole);
        grpc.streaming(Once(Some(call)), request).await
    }
}

/// One call, as tonic wants to see it.
struct Once(Option<Call>);

impl StreamingService<Bytes> for Once {
    type Response = Bytes;
    type ResponseStream = Answers;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answers>, Status>> + Send>>;

    fn call(&mut self, request: Request<Streaming<Bytes>>) -> Self::Future {
        let call = self.0.take();
        Box::pin(async move {
            match call {
                Some(call) => call.run(request).await,
                None => Err(Status::internal("called twice")),
            }
        })
    }
}

struct Call {
    jobs: JobsService,
    route: Arc<Route>,
    method: MethodName,
    begun: Instant,
    hosts_deadline: bool,
}

impl Call {
    async fn run(self, request: Request<Streaming<Bytes>>) -> Result<Response<Answers>, Status> {
        let (caller, room) = (Identity::of(&request)?, CallRoom::of(&request));
        let (mut metadata, _, mut stream) = request.into_parts();
        let trace = trace_of(&metadata);
        let earlier = |time: Duration| time - (time / 10).min(EARLIER);
        let deadline = deadline_of(&metadata).map(|time| self.begun + earlier(time));
        let controls = Controls::take(&mut metadata, &self.route.config)?;
        let metadata = from_call(&metadata).map_err(|bad| invalid_field(&bad.key, bad.rule))?;
        if controls.mode != Mode::Async && !self.has_single_answer() {
            return Err(refusal::no_single_answer());
        }
        let may_open = self.may_open(&controls);
        let admission = &self.jobs.door().admission;
        let mut held = admission.hold();
        let collected = collect(&mut stream, may_open, &mut held);
        let collected = in_time(deadline, collected).await?;
        let admitted = admission.enter_with(held)?;
        let most = self.route.config.max_request_bytes.map_or(MOST, |most| most.min(MOST));
        let left = most.saturating_sub(collected.size());
        let later = collected.open.then_some(stream);
        let prepared = self.prepare(&caller, &controls, collected, metadata, deadline)?;
        if controls.mode == Mode::Async {
            let ticket = self.jobs.accept(&caller, prepared, trace, admitted).await?;
            return Ok(answer::accepted(&ticket));
        }
        // Before the job is published, so that its end is not missed, and is cancelled
        // if the caller goes away meanwhile.
        let id = *prepared.id();
        let place = self.jobs.waiter().subscribe(&id, Interest::Stream);
        let guard = Guard::new(self.jobs.clone(), id, self.is_cancelled(&controls));
        let accepting = self.jobs.accept(&caller, prepared, trace, admitted);
        let accepted = match deadline {
            // What is taken too late is abandoned like what nobody waits for.
            Some(end) => timeout_at(end, accepting).await.map_err(|_| refusal::too_late())?,
            None => accepting.await,
        };
        let ticket = match accepted {
            Ok(ticket) if !ticket.attached => ticket,
            other => {
                guard.done();
                let ticket = other?;
                let job = Reading::submitted(&caller, &ticket, room);
                let job =
                    job.inspect_err(|status| audit::refused(&caller, &ticket.method, status))?;
                return self.attach(job, ticket, &controls, deadline).await;
            }
        };
        let later = later.map(|stream| Later::start(&self.jobs, &caller.tenant, id, stream, left));
        let job = Reading::submitted(&caller, &ticket, room)?;
        let follow = Follow::new(self.jobs.shared_lookup(), job, place);
        self.answer(follow, ticket, Some(guard), later, &controls, deadline).await
    }

    /// Follows the job of an earlier call, which is not this caller's to cancel.
    async fn attach(
        self,
        job: Reading,
        ticket: Ticket,
        controls: &Controls,
        deadline: Option<Instant>,
    ) -> Result<Response<Answers>, Status> {
        let place = self.jobs.waiter().subscribe(&ticket.id, Interest::Stream);
        let found = in_time(deadline, self.jobs.lookup().find(&ticket.id)).await?;
        let follow = Follow::new(self.jobs.shared_lookup(), job, place).found(found)?;
        self.answer(follow, ticket, None, None, controls, deadline).await
    }

    async fn answer(
        self,
        follow: Follow,
        ticket: Ticket,
        guard: Option<Guard>,
        later: Option<Later>,
        controls: &Controls,
        deadline: Option<Instant>,
    ) -> Result<Response<Answers>, Status> {
        let until = self.until(controls, deadline);
        let deterministic = self.route.config.calls.deterministic;
        let follow = follow.until(Some(until)).deadline(deadline.map(|_| until));
        let follow = follow.deterministic(deterministic);
        let ticket = (controls.mode == Mode::Auto).then_some(ticket);
        let answer = Answer { jobs: self.jobs, follow, guard, later, ticket, over: false };
        answer.begin().await
    }

    fn prepare(
        &self,
        caller: &Identity,
        controls: &Controls,
        collected: Collected,
        metadata: Vec<Metadatum>,
        deadline: Option<Instant>,
    ) -> Result<Prepared, Status> {
        let open = collected.open;
        let (request, stream) = collected.into_payload();
        let left = |end: Instant| end.saturating_duration_since(Instant::now());
        let sync = controls.mode == Mode::Sync;
        let shape = CallShape {
            stream,
            open,
            window: if controls.mode == Mode::Async { 0 } else { WINDOW },
            deadline: sync.then(|| deadline.map_or(self.route.config.default_expiry, left)),
            by_caller: sync && deadline.is_some() && !self.hosts_deadline,
            attach_within: self.route.config.calls.attach_within,
        };
        let submission = SubmitRequest {
            method: self.method.to_string(),
            request,
            metadata,
            request_id: controls.request_id.clone(),
            ordering_key: controls.ordering_key.clone(),
            result_retention: shape.deadline.filter(|_| !self.is_shared(controls)).map(|left| {
                // Who reads slowly may take the last of it at its deadline.
                let needed = left.saturating_add(RETENTION);
                duration_to_proto(self.route.config.default_retention.min(needed))
            }),
            ..SubmitRequest::default()
        };
        self.jobs.door().prepare_call(caller, submission, shape)
    }

    /// Whether a later call may lead to the job of this one.
    fn is_shared(&self, controls: &Controls) -> bool {
        !controls.request_id.is_empty() || self.route.config.calls.attach_within.is_some()
    }

    /// Whether a job of the route answers with one message of the method's type.
    fn has_single_answer(&self) -> bool {
        let rule = self.route.config.fan_out.as_ref().map(|fan_out| &fan_out.rule);
        rule.is_none_or(|rule| {
            matches!(rule.answer, Some(Answered::Primary(_) | Answered::Merge(true)))
        })
    }

    /// Whether the request may be sent before it is complete. An open one cannot be told
    /// from another by a digest, goes to one worker, and needs a claim.
    fn may_open(&self, controls: &Controls) -> bool {
        let RouteConfig { fan_out, guarantee, .. } = &self.route.config;
        controls.mode != Mode::Async
            && !self.is_shared(controls)
            && fan_out.is_none()
            && *guarantee == Guarantee::Claimed
    }

    fn is_cancelled(&self, controls: &Controls) -> bool {
        // What keeps no state before the result cannot be cancelled.
        let claimed = self.route.config.guarantee == Guarantee::Claimed;
        claimed
            && match self.route.config.calls.when_abandoned {
                Some(abandoned) => abandoned == Abandoned::Cancel,
                // Who can come back for its job wants to find it.
                None => controls.mode == Mode::Sync && !self.is_shared(controls),
            }
    }

    /// When the caller is answered, whatever there is.
    fn until(&self, controls: &Controls, deadline: Option<Instant>) -> Instant {
        let config = &self.route.config;
        match (controls.mode, deadline) {
            (Mode::Auto, Some(end)) => {
                let left = end.saturating_duration_since(Instant::now());
                end - MARGIN.min(left / 4)
            }
            (Mode::Auto, None) => self.begun + config.calls.budget,
            (_, Some(end)) => end,
            // The expiry ends the job, and with it the wait, by itself.
            (_, None) => self.begun + config.default_expiry + Duration::from_secs(10),
        }
    }
}

/// What comes before the caller's deadline.
async fn in_time<T>(
    deadline: Option<Instant>,
    work: impl Future<Output = Result<T, Status>>,
) -> Result<T, Status> {
    match deadline {
        Some(end) => timeout_at(end, work).await.map_err(|_| refusal::too_late())?,
        None => work.await,
    }
}

/// Cancels a job whose caller has gone away.
pub(crate) struct Guard {
    jobs: JobsService,
    id: JobId,
    armed: bool,
}

impl Guard {
    fn new(jobs: JobsService, id: JobId, armed: bool) -> Self {
        Self { jobs, id, armed }
    }

    /// The caller has its answer, or gets none for another reason.
    fn done(mut self) {
        self.armed = false;
    }
}

impl Drop for Guard {
    fn drop(&mut self) {
        if !self.armed {
            return;
        }
        let (jobs, id) = (self.jobs.clone(), self.id);
        let background = jobs.background().clone();
        background.spawn(async move { jobs.abandon(&id).await });
    }
}
