//! The calls over gRPC: the bare echo, and the same echo through the bridge.

use crate::Failure;
use crate::load::Caller;
use bytes::Bytes;
use prost::Message;
use prost_types::Timestamp;
use queuebridge_demo::v1::probe_client::ProbeClient;
use queuebridge_demo::v1::{CountRequest, EchoRequest};
use queuebridge_proto::v1::jobs_client::JobsClient;
use queuebridge_proto::v1::{GetResultRequest, Job, State, SubmitRequest};
use queuebridge_store::Clock;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::sleep;
use tonic::Status;
use tonic::transport::{Channel, Endpoint};

const METHOD: &str = "/queuebridge.demo.v1.Probe/Echo";
pub(crate) const PAYLOAD_BYTES: usize = 256;
const WAIT_SECONDS: i64 = 10;
/// Between two looks of a caller who polls.
const POLL: Duration = Duration::from_millis(5);

/// The payload of every call and message that has no size of its own.
pub(crate) fn payload() -> Bytes {
    payload_of(PAYLOAD_BYTES)
}

fn payload_of(size: usize) -> Bytes {
    // Not text, and not the same byte all over.
    (0..=u8::MAX).cycle().take(size).collect()
}

/// Connections to one server.
pub(crate) struct Connections(Vec<Channel>);

impl Connections {
    pub(crate) async fn open(url: String, number: usize) -> Result<Self, Failure> {
        let endpoint = Endpoint::from_shared(url)?;
        let mut channels = Vec::with_capacity(number);
        for _ in 0..number {
            channels.push(endpoint.connect().await?);
        }
        Ok(Self(channels))
    }

    /// As many callers, which take turns at the connections.
    pub(crate) fn callers<C>(&self, number: usize, new: impl Fn(Channel) -> C) -> Vec<C> {
        self.0.iter().cycle().take(number).cloned().map(new).collect()
    }
}

/// (a) The bare call, and (g) the same call of the bridge.
#[derive(Clone)]
pub(crate) struct Echo {
    client: ProbeClient<Channel>,
    request: EchoRequest,
}

impl Echo {
    pub(crate) fn new(channel: Channel) -> Self {
        Self::of(channel, PAYLOAD_BYTES)
    }

    pub(crate) fn of(channel: Channel, bytes: usize) -> Self {
        let request = EchoRequest { payload: payload_of(bytes), ..EchoRequest::default() };
        Self { client: ProbeClient::new(channel), request }
    }
}

impl Caller for Echo {
    async fn call(&mut self) -> Result<u64, String> {
        self.client.echo(self.request.clone()).await.map_err(refused)?;
        Ok(1)
    }
}

/// (g) A stream of so many answers.
#[derive(Clone)]
pub(crate) struct Count {
    client: ProbeClient<Channel>,
    up_to: u32,
}

impl Count {
    pub(crate) fn new(channel: Channel, up_to: u32) -> Self {
        Self { client: ProbeClient::new(channel), up_to }
    }
}

impl Caller for Count {
    async fn call(&mut self) -> Result<u64, String> {
        let request = CountRequest { up_to: self.up_to, pause: None };
        let mut answers = self.client.count(request).await.map_err(refused)?.into_inner();
        let mut last = 0;
        while let Some(answer) = answers.message().await.map_err(refused)? {
            last = answer.number;
        }
        if last == self.up_to { Ok(1) } else { Err(format!("it ended at {last}")) }
    }
}

/// How a job's result comes back to its caller.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Answer {
    /// (b) Not at all.
    None,
    /// (c) GetResult after Submit.
    SecondCall,
    /// (c') Submit itself waits.
    SameCall,
    /// (e) GetResult again and again.
    Polling,
}

/// Jobs.
#[derive(Clone)]
pub(crate) struct Submitter {
    client: JobsClient<Channel>,
    request: SubmitRequest,
    answer: Answer,
}

impl Submitter {
    pub(crate) fn new(channel: Channel, answer: Answer) -> Self {
        let echo = EchoRequest { payload: payload(), ..EchoRequest::default() };
        let request = SubmitRequest {
            method: METHOD.to_owned(),
            request: echo.encode_to_vec().into(),
            wait: (answer == Answer::SameCall).then(wait),
            ..SubmitRequest::default()
        };
        Self { client: JobsClient::new(channel), request, answer }
    }
}

impl Caller for Submitter {
    async fn call(&mut self) -> Result<u64, String> {
        let submitted = self.client.submit(self.request.clone()).await.map_err(refused)?;
        let job = submitted.into_inner();
        match self.answer {
            Answer::None => {}
            Answer::SameCall => succeeded(&job)?,
            Answer::Polling => loop {
                let request = GetResultRequest { id: job.id.clone(), wait: None };
                let looked = self.client.get_result(request).await.map_err(refused)?;
                if looked.get_ref().outcome.is_some() {
                    break succeeded(looked.get_ref())?;
                }
                sleep(POLL).await;
            },
            Answer::SecondCall => {
                let request = GetResultRequest { id: job.id, wait: Some(wait()) };
                let answer = self.client.get_result(request).await.map_err(refused)?;
                succeeded(answer.get_ref())?;
            }
        }
        Ok(1)
    }
}

/// (f) Jobs with so many branches, whose verdict is waited for.
#[derive(Clone)]
pub(crate) struct Scatterer {
    submitter: Submitter,
    branches: u64,
    /// Milliseconds from the end of the last branch to the answer.
    late: Arc<Mutex<Vec<f64>>>,
}

impl Scatterer {
    pub(crate) fn new(channel: Channel, branches: u64, late: Arc<Mutex<Vec<f64>>>) -> Self {
        Self { submitter: Submitter::new(channel, Answer::SameCall), branches, late }
    }
}

impl Caller for Scatterer {
    async fn call(&mut self) -> Result<u64, String> {
        let request = self.submitter.request.clone();
        let job = self.submitter.client.submit(request).await.map_err(refused)?.into_inner();
        let now = Clock::system().now();
        succeeded(&job)?;
        let ends = job.gather.iter().flat_map(|gather| &gather.branches);
        let ends = ends.filter_map(|branch| branch.job.as_ref()?.complete_time.as_ref());
        let millis = |at: &Timestamp| at.seconds as f64 * 1e3 + f64::from(at.nanos) / 1e6;
        if let Some(last) = ends.map(millis).reduce(f64::max) {
            let late = now.0 as f64 - last;
            self.late.lock().unwrap_or_else(PoisonError::into_inner).push(late);
        }
        Ok(self.branches)
    }
}

fn succeeded(job: &Job) -> Result<(), String> {
    match job.state() {
        State::Succeeded => Ok(()),
        other => Err(format!("a job is {}", other.as_str_name())),
    }
}

fn wait() -> prost_types::Duration {
    prost_types::Duration { seconds: WAIT_SECONDS, nanos: 0 }
}

fn refused(status: Status) -> String {
    format!("{:?}: {}", status.code(), status.message())
}
