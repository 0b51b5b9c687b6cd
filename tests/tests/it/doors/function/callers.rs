//! Who may call is decided as on the port.

use super::super::Request;
use super::{BUFFERED, Deployment, LONG, SPOKEN, get, job, send, submit};
use queuebridge_gateway::auth::api_keys::{Entry, hash_of, to_file};
use tonic::Code;

#[tokio::test(flavor = "multi_thread")]
async fn callers_show_their_keys_and_see_only_what_is_theirs() {
    let deployment = Deployment::new().await;
    let keys = deployment.path().join("keys.toml");
    let entry = |id: &str| {
        let (id, tenant) = (id.to_owned(), format!("tenant-of-{id}"));
        Entry { sha256: hash_of("secret"), id, tenant, roles: Vec::new() }
    };
    std::fs::write(&keys, to_file(vec![entry("one"), entry("other")])).unwrap();
    let grants = "[{ verbs = [\"submit\", \"read\"] }]";
    let auth = format!("auth = {{ api_keys = \"{}\", grant = {grants} }}", keys.display());
    deployment.configure("auth = \"none\"", &auth);
    let function = deployment.function(&[]).await;
    for door in BUFFERED {
        for protocol in SPOKEN {
            let call = async |request: Request, key: Option<&str>| {
                let request = match key {
                    Some(key) => request.with("x-api-key", key),
                    None => request,
                };
                protocol.outcome(&send(&function, door, request, LONG).await)
            };
            for key in [None, Some("one.wrong"), Some("nobody.secret")] {
                let outcome = call(protocol.request(&submit(0)), key).await;
                let case = format!("{door:?} {protocol:?} {key:?} {outcome:?}");
                assert_eq!(outcome.code, Code::Unauthenticated as i32, "{case}");
            }
            let outcome = call(protocol.request(&submit(0)), Some("one.secret")).await;
            let (id, _) = job(&outcome);
            let own = call(protocol.request(&get(&id, 0)), Some("one.secret")).await;
            assert_eq!(job(&own).0, id);
            let foreign = call(protocol.request(&get(&id, 0)), Some("other.secret")).await;
            assert_eq!(foreign.code, Code::NotFound as i32, "{door:?} {protocol:?} {foreign:?}");
        }
    }
}
