//! The gateway in front of a service that it calls directly.

use super::gateway;
use crate::Failure;
use aws_config::SdkConfig;
use queuebridge_gateway::config::{
    Destination, MethodPattern, RouteConfig, UpstreamConfig, UpstreamTarget,
};
use queuebridge_gateway::route::Routes;
use queuebridge_gateway::server::Gateway;
use queuebridge_gateway::upstream::Upstream;

pub(super) fn gateway(url: &str) -> Result<Gateway, Failure> {
    let target = UpstreamTarget::grpc(url.parse()?);
    let upstream = Upstream::new(&target, &SdkConfig::builder().build())?;
    let config = RouteConfig {
        upstream: Some(UpstreamConfig::new(target)),
        ..RouteConfig::new(MethodPattern::All, Destination::None)
    };
    let mut routes = Routes::new();
    routes.push(config, Vec::new(), Some(upstream));
    Ok(gateway::over(routes))
}
