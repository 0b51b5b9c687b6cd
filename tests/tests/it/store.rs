//! Every implementation of a store passes the same suite.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use futures_util::StreamExt;
use queuebridge_store::dynamodb::{DynamoResultStore, create_table};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::testing::payloads::Overwrite;
use queuebridge_store::testing::{gathers, payloads, results, streams};
use queuebridge_store::{Clock, PayloadError, PayloadStore, SubmissionStore};
use queuebridge_tests::Emulator;
use queuebridge_tests::emulator::unique;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, copy};
use tokio::net::{TcpListener, TcpStream};

const COPIES_SURVIVE: Duration = Duration::from_secs(14 * 24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_results_and_gathers() {
    let store = Arc::new(MemoryResultStore::new(COPIES_SURVIVE));
    results::conformance(store.clone(), COPIES_SURVIVE).await;
    gathers::conformance(store.clone(), COPIES_SURVIVE).await;
    streams::conformance(store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_payloads() {
    let store = Arc::new(MemoryPayloadStore::new(COPIES_SURVIVE, Clock::system()));
    payloads::conformance(store.clone(), store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_results_and_gathers() {
    let client = Emulator::shared().await.dynamodb().await;
    let table = unique("results");
    create_table(&client, &table).await.unwrap();
    let store = Arc::new(DynamoResultStore::new(client.clone(), &table, COPIES_SURVIVE));
    results::conformance(store.clone(), COPIES_SURVIVE).await;
    gathers::conformance(store.clone(), COPIES_SURVIVE).await;
    streams::conformance(store).await;
    // DynamoDB keeps items whose time was over more than five years ago.
    let items = client.scan().table_name(&table).projection_expression("#t");
    let found = items.expression_attribute_names("#t", "ttl").send().await.unwrap();
    for item in found.items() {
        let Some(ttl) = item.get("ttl").and_then(|value| value.as_n().ok()) else { continue };
        assert!(ttl.parse::<u64>().unwrap() > 1_600_000_000, "{ttl}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_is_made_once_with_its_time_to_live() {
    let client = Emulator::shared().await.dynamodb().await;
    let table = unique("results");
    for _ in 0..2 {
        create_table(&client, &table).await.unwrap();
    }
    let ttl = client.describe_time_to_live().table_name(&table).send().await.unwrap();
    let ttl = ttl.time_to_live_description.unwrap();
    assert_eq!(ttl.attribute_name(), Some("ttl"));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_its_table_a_store_answers_with_an_error() {
    let client = Emulator::shared().await.dynamodb().await;
    let store = DynamoResultStore::new(client, unique("missing"), COPIES_SURVIVE);
    let now = Clock::system().now();
    let error = store.mark_published(&[0; 32], now).await.unwrap_err();
    assert!(error.0.contains("ResourceNotFoundException"), "{error}");
}

/// The bucket of a store, past it: its keys begin with `p/`.
pub(crate) struct Bucket {
    pub(crate) client: aws_sdk_s3::Client,
    pub(crate) name: String,
}

#[async_trait]
impl Overwrite for Bucket {
    async fn overwrite(&self, key: &str, bytes: Bytes) {
        let call = self.client.put_object().bucket(&self.name).key(format!("p/{key}"));
        call.body(ByteStream::from(bytes)).send().await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_keeps_payloads() {
    let client = Emulator::shared().await.s3().await;
    let name = unique("payloads");
    client.create_bucket().bucket(&name).send().await.unwrap();
    let store = Arc::new(S3PayloadStore::new(client.clone(), &name, "p/"));
    payloads::conformance(store.clone(), Arc::new(Bucket { client, name })).await;

    // The bucket itself is missing: that says nothing about the payload.
    let client = Emulator::shared().await.s3().await;
    let elsewhere = S3PayloadStore::new(client, unique("missing"), "");
    let error = elsewhere.put("t/x", Bytes::new()).await.unwrap_err();
    assert!(error.to_string().contains("NoSuchBucket"), "{error}");
}

/// An S3 whose connections break after so many bytes, and how many there were.
async fn breaking_s3(after: u64) -> (aws_sdk_s3::Client, Arc<AtomicUsize>) {
    let emulator = Emulator::shared().await;
    let target = emulator.endpoint().trim_start_matches("http://").to_owned();
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counted = connections.clone();
    tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            let server = TcpStream::connect(&target).await.unwrap();
            tokio::spawn(async move {
                let (mut from_client, mut to_client) = client.into_split();
                let (from_server, mut to_server) = server.into_split();
                let mut some = from_server.take(after);
                tokio::select! {
                    _ = copy(&mut from_client, &mut to_server) => {}
                    _ = copy(&mut some, &mut to_client) => {}
                }
            });
        }
    });
    let config = aws_sdk_s3::config::Builder::from(&emulator.aws_config().await);
    let config = config.force_path_style(true).endpoint_url(url).build();
    (aws_sdk_s3::Client::from_conf(config), connections)
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_is_read_on_where_a_connection_broke_if_the_object_is_the_same() {
    let direct = Emulator::shared().await.s3().await;
    let name = unique("payloads");
    direct.create_bucket().bucket(&name).send().await.unwrap();
    let bytes: Bytes = (0..3_500_000u32).map(|n| (n % 251) as u8).collect();
    let store = S3PayloadStore::new(direct.clone(), &name, "p/");
    let payload = store.put("t/x", bytes.clone()).await.unwrap();
    let (client, connections) = breaking_s3(1_000_000).await;
    let broken = S3PayloadStore::new(client, &name, "p/");
    assert!(broken.get(&payload).await.unwrap() == bytes);
    assert!(connections.load(Ordering::SeqCst) >= 4);

    let mut stream = broken.open(&payload, 0).await.unwrap();
    stream.next().await.unwrap().unwrap();
    let other = Bytes::from(vec![7; bytes.len()]);
    Bucket { client: direct, name }.overwrite("t/x", other).await;
    let mut end = None;
    while let Some(chunk) = stream.next().await {
        end = chunk.err();
    }
    assert_eq!(end, Some(PayloadError::Altered("t/x".into())));
}

#[tokio::test(flavor = "multi_thread")]
async fn s3_that_breaks_before_every_byte_is_out_of_reach() {
    let direct = Emulator::shared().await.s3().await;
    let name = unique("payloads");
    direct.create_bucket().bucket(&name).send().await.unwrap();
    let store = S3PayloadStore::new(direct, &name, "");
    let payload = store.put("t/x", Bytes::from(vec![7; 3_000_000])).await.unwrap();
    let (client, _) = breaking_s3(20).await;
    let broken = S3PayloadStore::new(client, &name, "");
    let error = broken.get(&payload).await.unwrap_err();
    assert!(matches!(error, PayloadError::Unavailable(_)), "{error}");
}
