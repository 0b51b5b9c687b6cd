//! The table, for local provisioning and tests.

use super::{item, unreachable};
use crate::result::StoreError;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::client::Waiters;
use aws_sdk_dynamodb::error::BuildError;
use aws_sdk_dynamodb::types::{
    AttributeDefinition, BillingMode, KeySchemaElement, KeyType, ScalarAttributeType,
    TimeToLiveSpecification, TimeToLiveStatus,
};
use std::time::Duration;

const PATIENCE: Duration = Duration::from_secs(60);

/// Makes the table of a [`DynamoResultStore`](super::DynamoResultStore): the
/// partition key `pk`, paid by request, with the time to live in `ttl`. Returns
/// once the table can be used. A table that exists is left as it is, except that
/// its time to live is turned on.
///
/// # Errors
/// When DynamoDB refuses, does not answer, or takes more than a minute.
pub async fn create_table(client: &Client, name: &str) -> Result<(), StoreError> {
    let key = KeySchemaElement::builder().attribute_name(item::PK).key_type(KeyType::Hash);
    let attribute = AttributeDefinition::builder()
        .attribute_name(item::PK)
        .attribute_type(ScalarAttributeType::S);
    let created = client
        .create_table()
        .table_name(name)
        .billing_mode(BillingMode::PayPerRequest)
        .key_schema(key.build().map_err(incomplete)?)
        .attribute_definitions(attribute.build().map_err(incomplete)?)
        .send()
        .await;
    if let Err(error) = created
        && !error.as_service_error().is_some_and(|e| e.is_resource_in_use_exception())
    {
        return Err(unreachable(error));
    }
    let wait = client.wait_until_table_exists().table_name(name);
    wait.wait(PATIENCE).await.map_err(unreachable)?;
    enable_ttl(client, name).await
}

async fn enable_ttl(client: &Client, name: &str) -> Result<(), StoreError> {
    let known = client.describe_time_to_live().table_name(name).send().await;
    let known = known.map_err(unreachable)?.time_to_live_description;
    let status = known.and_then(|ttl| ttl.time_to_live_status);
    // Turning it on twice is an error.
    if matches!(status, Some(TimeToLiveStatus::Enabled | TimeToLiveStatus::Enabling)) {
        return Ok(());
    }
    let ttl = TimeToLiveSpecification::builder().attribute_name("ttl").enabled(true);
    let call = client.update_time_to_live().table_name(name);
    let call = call.time_to_live_specification(ttl.build().map_err(incomplete)?);
    call.send().await.map_err(unreachable)?;
    Ok(())
}

fn incomplete(error: BuildError) -> StoreError {
    StoreError(error.to_string())
}
