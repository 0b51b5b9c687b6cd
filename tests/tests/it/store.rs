//! Every implementation of a store passes the same suite.

use async_trait::async_trait;
use aws_sdk_s3::primitives::ByteStream;
use bytes::Bytes;
use queuebridge_store::dynamodb::{DynamoResultStore, create_table};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::testing::payloads::Overwrite;
use queuebridge_store::testing::{payloads, results};
use queuebridge_store::{Clock, PayloadStore, SubmissionStore};
use queuebridge_tests::Emulator;
use queuebridge_tests::emulator::unique;
use std::sync::Arc;
use std::time::Duration;

const COPIES_SURVIVE: Duration = Duration::from_secs(14 * 24 * 3600);

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_results() {
    let store = Arc::new(MemoryResultStore::new(COPIES_SURVIVE));
    results::conformance(store, COPIES_SURVIVE).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn memory_keeps_payloads() {
    let store = Arc::new(MemoryPayloadStore::new(COPIES_SURVIVE, Clock::system()));
    payloads::conformance(store.clone(), store).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn dynamodb_keeps_results() {
    let client = Emulator::shared().await.dynamodb().await;
    let table = unique("results");
    create_table(&client, &table).await.unwrap();
    let store = Arc::new(DynamoResultStore::new(client, table, COPIES_SURVIVE));
    results::conformance(store, COPIES_SURVIVE).await;
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

struct Bucket {
    client: aws_sdk_s3::Client,
    name: String,
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
