//! What the programs ask of AWS, and how long they wait for it: an endpoint that misbehaves.

use crate::fixture::{START, Worker};
use crate::waiting::gateway_with;
use aws_config::SdkConfig;
use bytes::Bytes;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use queuebridge_gateway::config::UpstreamTarget;
use queuebridge_gateway::publish::batcher::Batcher;
use queuebridge_gateway::publish::sqs::SqsPublisher;
use queuebridge_gateway::publish::{Message, PublishError};
use queuebridge_gateway::replies::{self, Replies};
use queuebridge_gateway::upstream::Upstream;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::{JobId, Keyring};
use queuebridge_store::dynamodb::DynamoResultStore;
use queuebridge_store::{ResultStore, aws};
use queuebridge_worker::host::source::Source;
use queuebridge_worker::host::sqs::{LONGEST_WAIT, SqsSource};
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, timeout};
use tokio_util::sync::CancellationToken;
use tonic::body::Body;

/// Answers nothing in particular to everything, after a while.
#[derive(Clone)]
struct Slow {
    now: Arc<AtomicUsize>,
    at_once: Arc<AtomicUsize>,
    connections: Arc<AtomicUsize>,
    requests: Arc<AtomicUsize>,
    /// Lets so many answers go.
    gate: Arc<Semaphore>,
}

impl Default for Slow {
    fn default() -> Self {
        let [now, at_once, connections, requests] = std::array::from_fn(|_| Arc::default());
        let gate = Arc::new(Semaphore::new(Semaphore::MAX_PERMITS));
        Self { now, at_once, connections, requests, gate }
    }
}

impl Slow {
    /// Its URL.
    async fn serve(&self, after: Duration) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (url, slow) = (format!("http://{}", listener.local_addr().unwrap()), self.clone());
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                slow.connections.fetch_add(1, Ordering::SeqCst);
                let slow = slow.clone();
                let answer = service_fn(move |_: Request<Incoming>| slow.clone().answer(after));
                let server = hyper::server::conn::http1::Builder::new();
                tokio::spawn(server.serve_connection(TokioIo::new(stream), answer));
            }
        });
        url
    }

    async fn answer(self, after: Duration) -> Result<Response<Full<Bytes>>, Infallible> {
        self.requests.fetch_add(1, Ordering::SeqCst);
        let now = self.now.fetch_add(1, Ordering::SeqCst) + 1;
        self.at_once.fetch_max(now, Ordering::SeqCst);
        sleep(after).await;
        self.gate.acquire().await.unwrap().forget();
        self.now.fetch_sub(1, Ordering::SeqCst);
        let response = Response::builder().header("content-type", "application/x-amz-json-1.0");
        Ok(response.body(Full::new(Bytes::from_static(b"{}"))).unwrap())
    }
}

async fn sdk(url: String) -> SdkConfig {
    let credentials = aws_sdk_dynamodb::config::Credentials::new("test", "test", None, None, "");
    let region = aws_config::Region::from_static("us-east-1");
    let sdk = aws::loader().endpoint_url(url).credentials_provider(credentials).region(region);
    sdk.load().await
}

async fn store(url: String) -> DynamoResultStore {
    DynamoResultStore::new(aws::dynamodb(&sdk(url).await), "jobs", Duration::from_secs(60))
}

fn job() -> JobId {
    let claims = Claims {
        uuid: uuid::Uuid::new_v4(),
        tenant: "t",
        method: "/a.B/C",
        expires_at: START.plus(Duration::from_secs(60)),
        retention: Duration::from_secs(60),
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint(&claims, &Keyring::single(&[1; 32]))
}

#[tokio::test(start_paused = true)]
async fn a_table_that_has_gone_silent_is_noticed() {
    let silent = Slow::default().serve(Duration::from_secs(3600)).await;
    let (store, begun) = (store(silent).await, Instant::now());
    let error = store.get(&job(), START).await.unwrap_err();
    assert!(error.to_string().contains("time"), "{error}");
    assert!(begun.elapsed() <= Duration::from_secs(31), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn a_long_poll_is_waited_for_to_its_end() {
    let slow = Slow::default();
    let sdk = sdk(slow.serve(Duration::from_secs(20)).await).await;
    let sqs = aws_sdk_sqs::Client::new(&sdk);
    let source = SqsSource::new(sqs.clone(), "http://queue/jobs".into(), LONGEST_WAIT);
    let received = source.receive(10, Duration::from_secs(30), &CancellationToken::new()).await;
    assert_eq!(received.map(|messages| messages.len()), Ok(0));
    assert_eq!(slow.requests.swap(0, Ordering::SeqCst), 1);

    let gateway = gateway_with(&Worker::new(), Replies::default());
    let keys = Keyring::single(&[1; 32]);
    let read = replies::read(sqs, "http://queue/replies".into(), keys.into(), gateway.waiter);
    assert!(timeout(Duration::from_secs(110), read).await.is_err());
    assert_eq!(slow.requests.load(Ordering::SeqCst), 6, "one each 20 s");
}

#[tokio::test(start_paused = true)]
async fn what_one_connection_loses_is_published_over_another() {
    let slow = Slow::default();
    let sdk = sdk(slow.serve(Duration::from_secs(3600)).await).await;
    let publisher = SqsPublisher::new(aws_sdk_sqs::Client::new(&sdk), "http://queue/jobs".into());
    let message = Message {
        body: "body".into(),
        attributes: Vec::new(),
        delay_seconds: 0,
        group_id: None,
        deduplication_id: None,
        trace_header: None,
    };
    let published = Batcher::new(Arc::new(publisher)).publish(message).await;
    assert!(matches!(published, Err(PublishError::Unknown(_))), "{published:?}");
    assert_eq!(slow.requests.load(Ordering::SeqCst), 3, "the caller is told after three tries");
}

#[tokio::test(start_paused = true)]
async fn a_function_is_waited_for_as_long_as_it_can_run_and_no_longer() {
    let sdk = sdk(Slow::default().serve(Duration::from_secs(3600)).await).await;
    let function = UpstreamTarget::Lambda { function: "f".into() };
    let upstream = Upstream::new(&function, &sdk).unwrap();
    let message = Body::new(Full::new(Bytes::from_static(&[0; 5])));
    let request = Request::post("/a.B/C").header("content-type", "application/grpc");
    let begun = Instant::now();
    let Ok(response) = upstream.attempt(request.body(message).unwrap()).await else {
        panic!("it may have run")
    };
    assert_eq!(response.headers()["grpc-status"], "14");
    let waited = begun.elapsed().as_secs();
    assert!((900..910).contains(&waited), "{waited} s");
}

#[tokio::test]
async fn a_crowd_is_no_storm_of_connections() {
    let slow = Slow { gate: Arc::new(Semaphore::new(0)), ..Slow::default() };
    let store = Arc::new(store(slow.serve(Duration::ZERO).await).await);
    let mut callers = JoinSet::new();
    for _ in 0..1_000 {
        let store = store.clone();
        callers.spawn(async move { store.get(&job(), START).await });
    }
    // Each answer makes room for one more request, which is waited for.
    let one_by_one = async {
        for request in 128..=1_000 {
            while slow.requests.load(Ordering::SeqCst) < request {
                sleep(Duration::from_millis(1)).await;
            }
            slow.gate.add_permits(1);
        }
        slow.gate.add_permits(1_000);
    };
    timeout(Duration::from_secs(600), one_by_one).await.unwrap();
    while let Some(found) = callers.join_next().await {
        assert!(found.unwrap().unwrap().is_none());
    }
    assert_eq!(slow.at_once.load(Ordering::SeqCst), 128);
    assert!(slow.connections.load(Ordering::SeqCst) <= 256, "they are used again");
}
