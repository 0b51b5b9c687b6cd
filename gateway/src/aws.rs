//! The AWS SDK's configuration for this process.

use aws_config::environment::{
    EnvironmentVariableCredentialsProvider, EnvironmentVariableRegionProvider,
};
use aws_config::meta::credentials::CredentialsProviderChain;
use aws_config::meta::region::RegionProviderChain;
use aws_config::{Region, SdkConfig};
use aws_sdk_sqs::config::Credentials;
use queuebridge_store::aws::loader;

/// Credentials, Region and endpoint as [`loader`] finds them.
pub async fn sdk_config() -> SdkConfig {
    loader().load().await
}

/// As [`sdk_config`], at another endpoint, such as an emulator on this machine.
/// Credentials and Region come from the environment variables; without them any
/// will do there.
pub async fn sdk_config_at(url: &str) -> SdkConfig {
    let any = Credentials::new("test", "test", None, None, "endpoint");
    let environment = EnvironmentVariableCredentialsProvider::new();
    let credentials =
        CredentialsProviderChain::first_try("environment", environment).or_else("endpoint", any);
    let region = RegionProviderChain::first_try(EnvironmentVariableRegionProvider::new())
        .or_else(Region::from_static("us-east-1"));
    loader().endpoint_url(url).credentials_provider(credentials).region(region).load().await
}
