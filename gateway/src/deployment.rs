//! What a gateway is made of on AWS: queues and topics, upstreams, stores.

use crate::auth::Authenticator;
use crate::config::{Config, Destination, UpstreamTarget};
use crate::descriptors::DescriptorRegistry;
use crate::encryption;
use crate::publish::Publisher;
use crate::publish::batcher::Batcher;
use crate::publish::{sns::SnsPublisher, sqs::SqsPublisher};
use crate::quota::Quotas;
use crate::replies::Replies;
use crate::route::Routes;
use crate::server::{Gateway, Settings};
use crate::upstream::Upstream;
use crate::upstream::grpc::DialError;
use aws_config::SdkConfig;
use queuebridge_store::dynamodb::DynamoResultStore;
use queuebridge_store::s3::S3PayloadStore;
use queuebridge_store::{Clock, PayloadStore, Stores, aws};
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

/// A gateway over its stores, with the publishers and upstreams of the configuration.
pub(crate) fn gateway(
    config: &Config,
    sdk: &SdkConfig,
    stores: Stores,
    replies: Arc<Replies>,
    descriptors: Arc<DescriptorRegistry>,
    auth: Authenticator,
) -> Result<Gateway, DialError> {
    let settings = Settings {
        auth,
        quotas: Quotas::new(&config.quota),
        job_id_keys: config.job_id_keys.clone(),
        envelope_keys: config.envelope_keys.clone(),
        max_message_bytes: config.max_message_bytes,
        max_pending: config.max_pending,
        drain_timeout: config.drain_timeout,
        replies,
        callbacks: config.callbacks.clone().map(|callbacks| {
            let sqs = aws_sdk_sqs::Client::new(sdk);
            let publisher = SqsPublisher::new(sqs, callbacks.queue.clone());
            (callbacks, Arc::new(publisher) as Arc<dyn Publisher>)
        }),
        hosts: config.hosts.clone(),
        cors_origins: config.cors_origins.clone(),
        descriptors,
    };
    Ok(Gateway::new(settings, routes(config, sdk)?, stores, Clock::system()))
}

/// The routes of the configuration; those that share a queue, a topic or an upstream
/// share what leads there.
fn routes(config: &Config, sdk: &SdkConfig) -> Result<Routes, DialError> {
    let sqs = aws_sdk_sqs::Client::new(sdk);
    let sns = aws_sdk_sns::Client::new(sdk);
    let mut batchers: HashMap<Destination, Batcher> = HashMap::new();
    let mut upstreams: HashMap<UpstreamTarget, Upstream> = HashMap::new();
    let mut routes = Routes::new();
    for route in &config.routes {
        let mut batcher = |destination: Destination| {
            let publisher = || -> Arc<dyn Publisher> {
                match &destination {
                    Destination::Topic(arn) => {
                        Arc::new(SnsPublisher::new(sns.clone(), arn.clone()))
                    }
                    queue => Arc::new(SqsPublisher::new(sqs.clone(), queue.name().to_owned())),
                }
            };
            let batcher = || Batcher::new(publisher());
            batchers.entry(destination.clone()).or_insert_with(batcher).clone()
        };
        let each = match (&route.destination, &route.fan_out) {
            (Destination::Branches, Some(fan_out)) => {
                let queues = fan_out.branches.iter().filter_map(|branch| branch.queue.clone());
                queues.map(|queue| batcher(Destination::Queue(queue))).collect()
            }
            (Destination::None, _) => Vec::new(),
            (one, _) => vec![batcher(one.clone())],
        };
        // Routes to the same service share its connections.
        let upstream = match route.upstream.as_ref().map(|upstream| &upstream.target) {
            None => None,
            Some(target) => Some(match upstreams.entry(target.clone()) {
                Entry::Occupied(known) => known.get().clone(),
                Entry::Vacant(new) => new.insert(Upstream::new(target, sdk)?).clone(),
            }),
        };
        routes.push(route.clone(), each, upstream);
    }
    Ok(routes)
}

/// Its stores.
pub(crate) fn stores(config: &Config, sdk: &SdkConfig) -> Stores {
    let encryption = config.encryption.as_ref().map(|all| encryption::gateway(all, config, sdk));
    let config = &config.store;
    let dynamodb = aws::dynamodb(sdk);
    let store = DynamoResultStore::new(dynamodb, config.table.clone(), config.copies_survive);
    let payloads = config.payload_bucket.as_ref().map(|bucket| {
        let s3 = aws::s3(sdk);
        let store = S3PayloadStore::new(s3, bucket.clone(), config.payload_prefix.clone());
        Arc::new(store) as Arc<dyn PayloadStore>
    });
    let stores = Stores::new(Arc::new(store), payloads);
    match encryption {
        Some(encryption) => stores.encrypted(encryption),
        None => stores,
    }
}
