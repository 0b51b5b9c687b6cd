//! What the sender of callbacks needs to know.

use super::name;
use crate::callbacks::{Networks, SenderKeys, SenderSettings, SigningKeys};

pub(super) fn sender<'a>(
    get: &impl Fn(&str) -> Option<&'a str>,
    errors: &mut Vec<String>,
) -> SenderSettings {
    let others = get(name::SIGNING_KEYS).map(SigningKeys::parse).transpose();
    let others = others.unwrap_or_else(|error| {
        errors.push(format!("{}: {error}", name::SIGNING_KEYS));
        None
    });
    let tenants = get(name::TENANT_SIGNING_KEYS).map(SenderKeys::parse_tenants).transpose();
    let tenants = tenants.unwrap_or_else(|error| {
        errors.push(format!("{}: {error}", name::TENANT_SIGNING_KEYS));
        None
    });
    let networks = get(name::NETWORKS).unwrap_or_default().split(',').map(str::trim);
    let networks: Result<Vec<_>, _> =
        networks.filter(|text| !text.is_empty()).map(str::parse).collect();
    let networks = networks.unwrap_or_else(|_| {
        errors.push(format!("{}: expected networks such as 10.1.0.0/16", name::NETWORKS));
        Vec::new()
    });
    SenderSettings {
        signing_keys: SenderKeys { others, tenants: tenants.unwrap_or_default() },
        networks: Networks::public_and(networks),
        result_url: get(name::RESULT_URL).map(str::to_owned),
    }
}
