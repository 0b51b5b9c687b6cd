//! Job ids that are forged, foreign or malformed, and keys that rotate.

use super::bridge::{Bridge, Serving, Setup, echo, forged};
use super::{assert_refused, told};
use queuebridge_proto::Keyring;
use queuebridge_proto::v1::{CancelRequest, GetResultRequest, State};
use std::collections::BTreeMap;
use tonic::{Code, Status};

async fn get(gateway: &Serving, id: &str) -> Result<(), Status> {
    let request = GetResultRequest { id: id.to_owned(), wait: None };
    gateway.jobs.clone().get_result(request).await.map(drop)
}

/// All that a caller sees of a refusal, but for the date.
fn seen(status: &Status) -> (String, BTreeMap<String, Vec<u8>>) {
    let headers = status.metadata().clone().into_headers();
    let entry = |(name, value): (&http::HeaderName, &http::HeaderValue)| {
        (name.to_string(), value.as_bytes().to_vec())
    };
    let mut entries: BTreeMap<_, _> = headers.iter().map(entry).collect();
    entries.remove("date");
    entries.insert("details".into(), status.details().to_vec());
    (status.message().to_owned(), entries)
}

#[tokio::test]
async fn forged_and_foreign_ids_get_the_same_refusal() {
    let bridge = Bridge::new();
    let gateway = bridge.gateway(Setup::default()).await;
    let id = gateway.submitted(echo()).await;
    let job_id_keys = Keyring::single(&[2; 32]);
    let other_key = bridge.gateway(Setup { job_id_keys, ..Setup::default() }).await;
    let other_tenant = bridge.gateway(Setup { tenant: "other", ..Setup::default() }).await;
    let mut refusals = Vec::new();
    for (gateway, id) in [(&gateway, &forged(&id)), (&other_key, &id), (&other_tenant, &id)] {
        let status = assert_refused(get(gateway, id).await, Code::NotFound, "JOB_NOT_FOUND", "");
        refusals.push(seen(&status));
        let answer = gateway.jobs.clone().cancel(CancelRequest { id: id.clone() }).await;
        assert_refused(answer, Code::NotFound, "JOB_NOT_FOUND", "");
    }
    assert!(refusals.iter().all(|refusal| *refusal == refusals[0]), "{refusals:?}");
    for bad in ["", "x", &format!("{id}A"), &id[..id.len() - 1], &"ü".repeat(71)] {
        let status = get(&gateway, bad).await.unwrap_err();
        let malformed = (Code::InvalidArgument, "MALFORMED_JOB_ID".to_owned(), "id".to_owned());
        assert_eq!(told(&status), malformed, "{bad:?}");
    }
}

#[tokio::test]
async fn a_rotated_keyring_knows_the_jobs_of_its_old_key() {
    let mut bridge = Bridge::new();
    let keys = |text: &str| Setup { job_id_keys: Keyring::parse(text).unwrap(), ..<_>::default() };
    let (old, new) = ("1:MDEyMzQ1Njc4OWFiY2RlZg==", "2:ZmVkY2JhOTg3NjU0MzIxMA==");
    let before = bridge.gateway(keys(old)).await;
    let rotated = bridge.gateway(keys(&format!("{new},{old}"))).await;
    bridge.work();
    let first = before.submitted(echo()).await;
    assert_eq!(rotated.finished(&first).await.state(), State::Succeeded);
    let fresh = rotated.submitted(echo()).await;
    assert_refused(get(&before, &fresh).await, Code::NotFound, "JOB_NOT_FOUND", "");
}
