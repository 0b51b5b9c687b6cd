//! Which keys sign the callbacks of which tenant.

use super::signature::{SigningKeys, SigningKeysError};
use queuebridge_proto::tenant::{RULE, is_tenant};
use std::collections::HashMap;
use std::collections::hash_map::Entry;

/// The signing keys of a deployment. The callbacks of a tenant that has keys of its own are
/// signed with these only: what is told of another tenant never verifies with them.
#[derive(Clone, Debug, Default)]
pub struct SenderKeys {
    /// Sign the callbacks of all other tenants; `None`: those are not signed.
    pub others: Option<SigningKeys>,
    /// The keys of tenants.
    pub tenants: HashMap<String, SigningKeys>,
}

/// What is wrong with the keys of tenants. Entries are known by their places: what stands
/// before the `=` may be a key that has lost its tenant.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TenantKeysError {
    /// It names no tenant.
    #[error("entry {0}: expected TENANT=KEY[,KEY...]; a tenant is {RULE}")]
    NoTenant(usize),
    /// The tenant has an entry before.
    #[error("entry {0}: the tenant is there already")]
    Repeated(usize),
    /// Its keys.
    #[error("entry {0}: {1}")]
    Keys(usize, SigningKeysError),
}

impl SenderKeys {
    /// Reads the keys of tenants: `acme=whsec_…,whsk_…` with semicolons between them.
    ///
    /// # Errors
    /// See [`TenantKeysError`].
    pub fn parse_tenants(text: &str) -> Result<HashMap<String, SigningKeys>, TenantKeysError> {
        let mut tenants = HashMap::new();
        for (place, entry) in (1..).zip(text.split(';')) {
            // The Base64 of a key may end in `=`, too; a tenant has none.
            let (tenant, keys) = entry.split_once('=').ok_or(TenantKeysError::NoTenant(place))?;
            let tenant = Some(tenant.trim()).filter(|tenant| is_tenant(tenant));
            let tenant = tenant.ok_or(TenantKeysError::NoTenant(place))?;
            let keys = SigningKeys::parse(keys);
            let keys = keys.map_err(|error| TenantKeysError::Keys(place, error))?;
            match tenants.entry(tenant.to_owned()) {
                Entry::Occupied(_) => return Err(TenantKeysError::Repeated(place)),
                Entry::Vacant(free) => free.insert(keys),
            };
        }
        Ok(tenants)
    }

    /// The keys that sign the callbacks of a tenant.
    pub(super) fn of(&self, tenant: &str) -> Option<&SigningKeys> {
        self.tenants.get(tenant).or(self.others.as_ref())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use base64::Engine;
    use base64::engine::general_purpose::STANDARD;

    fn secret(byte: u8) -> String {
        format!("whsec_{}", STANDARD.encode([byte; 32]))
    }

    fn signature(secret: &str) -> String {
        SigningKeys::parse(secret).unwrap().sign("id", 5, b"body")
    }

    #[test]
    fn a_tenants_own_keys_sign_alone_and_sign_nothing_else() {
        let [all, first, second] = [1, 2, 3].map(secret);
        let text = format!("acme={first},{second}; shop = {second}\n");
        let keys = SenderKeys {
            others: Some(SigningKeys::parse(&all).unwrap()),
            tenants: SenderKeys::parse_tenants(&text).unwrap(),
        };
        let signed = |tenant| keys.of(tenant).unwrap().sign("id", 5, b"body");
        assert_eq!(signed("acme"), format!("{} {}", signature(&first), signature(&second)));
        assert_eq!(signed("shop"), signature(&second));
        for other in ["any", "", "Acme", "acme "] {
            assert_eq!(signed(other), signature(&all), "{other}");
        }
        let tenants = keys.tenants;
        assert!(SenderKeys { others: None, tenants }.of("any").is_none());
        assert!(SenderKeys::default().of("acme").is_none());
    }

    #[test]
    fn wrong_entries_are_named_by_their_place_and_no_secret_is_shown() {
        let key = secret(7);
        let no_key = |place| TenantKeysError::Keys(place, SigningKeys::parse("").unwrap_err());
        for (text, expected) in [
            (String::new(), TenantKeysError::NoTenant(1)),
            (key.clone(), no_key(1)),
            (format!("={key}"), TenantKeysError::NoTenant(1)),
            (format!("a b={key}"), TenantKeysError::NoTenant(1)),
            (format!("acme={key};"), TenantKeysError::NoTenant(2)),
            (format!("acme={key};acme={key}"), TenantKeysError::Repeated(2)),
            (format!("acme={key};shop="), no_key(2)),
            (format!("acme={key};shop={}", &key[6..]), no_key(2)),
        ] {
            let error = SenderKeys::parse_tenants(&text).unwrap_err();
            assert_eq!(error, expected, "{text}");
            assert!(!error.to_string().contains("BwcH"), "{error}");
        }
        let tenants = SenderKeys::parse_tenants(&format!("acme={key}")).unwrap();
        let shown = format!("{:?}", SenderKeys { others: None, tenants });
        assert!(shown.contains("acme") && !shown.contains("BwcH"), "{shown}");
    }
}
