//! A gather over memory stores, whose branches end as a test says.

use bytes::Bytes;
use queuebridge_proto::error;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::outcome::{failure, from_rpc_status};
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{
    GatherPlan, GatherReport, GatherRule, Outcome, PayloadRef, PlannedBranch, State,
};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use queuebridge_store::gather::{Cause, branch_ids};
use queuebridge_store::memory::{MemoryPayloadStore, MemoryResultStore};
use queuebridge_store::{Author, Clock, Completed, GatherStore, Gathers, Record, ResultStore};
use std::sync::Arc;
use std::time::Duration;
use tonic::Code;
use tonic::metadata::MetadataMap;
use tonic_types::StatusExt;

pub(crate) const START: UnixMillis = UnixMillis(1_700_000_000_000);
pub(crate) const HOUR: Duration = Duration::from_secs(3600);
pub(crate) const SECOND: Duration = Duration::from_secs(1);

pub(crate) struct Subject {
    pub(crate) store: Arc<MemoryResultStore>,
    pub(crate) payloads: Arc<MemoryPayloadStore>,
    pub(crate) gathers: Gathers,
    pub(crate) id: JobId,
    pub(crate) plan: GatherPlan,
}

/// How a branch ends.
#[derive(Clone, Debug)]
pub(crate) enum End {
    Ok(Vec<u8>),
    /// With an empty answer of this type.
    Typed(&'static str),
    /// With an answer in the payload store, if it is there.
    Stored(PayloadRef),
    Code(Code),
}

impl Subject {
    pub(crate) async fn new(branches: usize, rule: GatherRule, expires: Duration) -> Self {
        let store = Arc::new(MemoryResultStore::new(HOUR));
        let payloads = Arc::new(MemoryPayloadStore::new(HOUR * 9, Clock::simulated(START)));
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method: "/a.B/C",
            expires_at: START.plus(HOUR),
            retention: HOUR * 3,
            at_least_once: false,
            reply_shard: None,
        };
        let id = JobId::mint_gather(&claims, &Keyring::single(&[1; 32]));
        let branch = |n| PlannedBranch { name: format!("b{n}"), method: format!("/a.B/M{n}") };
        let plan = GatherPlan {
            rule: Some(rule),
            tenant: "t".into(),
            method: "/a.B/C".into(),
            branches: (0..branches).map(branch).collect(),
            expires_at: START.plus(expires).0,
            callback: None,
            ..GatherPlan::default()
        };
        store.open(&id, &plan, START).await.unwrap();
        let gathers = Gathers {
            results: store.clone(),
            gathers: store.clone(),
            payloads: Some(payloads.clone()),
            record_bytes: 20_000,
        };
        Self { store, payloads, gathers, id, plan }
    }

    /// The branch ends, and whoever ran it looks.
    pub(crate) async fn end(&self, branch: usize, end: End, at: UnixMillis) -> Option<Record> {
        self.store_end(branch, end, at).await;
        self.close(Cause::Branch(u32::try_from(branch).unwrap()), at).await
    }

    pub(crate) async fn store_end(&self, branch: usize, end: End, at: UnixMillis) {
        let (state, outcome) = match end {
            End::Ok(message) => succeeded("a.R", Kind::Response(message.into())),
            End::Typed(name) => succeeded(name, Kind::Response(Bytes::new())),
            End::Stored(at) => succeeded("a.R", Kind::ResponseRef(at)),
            End::Code(code) => {
                let status = error::status(code, "WHY", format!("branch {branch} says no"));
                (State::Failed, failure(&status, &MetadataMap::new()))
            }
        };
        let id = branch_ids(&self.id, &self.plan)[branch];
        let end = queuebridge_store::End::new(state, outcome);
        let stored = self.store.complete(&id, "", Author::Unclaimed, end, at).await.unwrap();
        assert_eq!(stored, Completed::Stored);
    }

    pub(crate) async fn close(&self, cause: Cause, now: UnixMillis) -> Option<Record> {
        self.gathers.close(&self.id, cause, now).await.unwrap()
    }
}

fn succeeded(response_type: &str, result: Kind) -> (State, Outcome) {
    let response_type = response_type.to_owned();
    (State::Succeeded, Outcome { result: Some(result), response_type, ..Outcome::default() })
}

pub(crate) fn after(seconds: u64) -> UnixMillis {
    START.plus(SECOND * u32::try_from(seconds).unwrap())
}

pub(crate) fn ok(byte: u8) -> End {
    End::Ok(vec![byte])
}

pub(crate) fn all() -> GatherRule {
    GatherRule::default()
}

pub(crate) fn report(record: &Record) -> &GatherReport {
    record.outcome.as_ref().unwrap().gather.as_ref().unwrap()
}

pub(crate) fn states(record: &Record) -> Vec<State> {
    report(record).branches.iter().map(queuebridge_proto::v1::FinishedJob::state).collect()
}

pub(crate) fn response(record: &Record) -> Vec<u8> {
    match record.outcome.as_ref().unwrap().result.as_ref().unwrap() {
        Kind::Response(message) => message.to_vec(),
        other => panic!("{other:?}"),
    }
}

pub(crate) fn refusal(record: &Record) -> (Code, String, String) {
    let Some(Kind::Error(status)) = &record.outcome.as_ref().unwrap().result else { panic!() };
    let status = from_rpc_status(status);
    let reason = status.get_details_error_info().unwrap().reason;
    (status.code(), reason, status.message().to_owned())
}
