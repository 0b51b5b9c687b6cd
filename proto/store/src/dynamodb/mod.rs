//! The result store on DynamoDB.
//!
//! One table with the partition key `pk` and no index: `job#<uuid>` is a record,
//! `req#<key in hex>` an idempotent submission, `lease#<name>` a lease,
//! `gather#<uuid>` the plan of a gather, `tally#<uuid>#<number>` one of its tallies and
//! `stream#<uuid>#<lane>#<number>` a chunk of a stream. Every arrow of the state machine is one conditional write, and its
//! condition stands below a drawing of it. A refused write brings the stored item
//! back, so that what it means is known without another read.
//!
//! DynamoDB deletes items some time after their `ttl`, up to days later, and
//! until then they can be read and written: nothing here depends on it.

mod arrow;
mod gathers;
mod item;
mod leases;
mod streams;
mod submissions;
mod table;

pub use table::create_table;

use crate::record::{Record, Token};
use crate::result::{
    Author, Cancelled, Claim, ClaimRequest, Claimed, Completed, Deleted, End, Lapsed, Lease,
    Renewed, ResultStore, StoreError,
};
use crate::rules;
use arrow::{Arrow, job_key};
use async_trait::async_trait;
use aws_sdk_dynamodb::Client;
use aws_sdk_dynamodb::error::DisplayErrorContext;
use aws_sdk_dynamodb::types::AttributeValue;
use item::Item;
use queuebridge_proto::v1::{Progress, State};
use queuebridge_proto::{JobId, UnixMillis, outcome};
use std::time::Duration;

/// A write is refused twice only when others change the record in between; more
/// than a few times in one call is no coincidence.
const ROUNDS: usize = 8;

// Nobody holds the claim.
const FREE: &str = "attribute_not_exists(pk) OR #state = :accepted \
                    OR (#state = :running AND #lease <= :now)";
const MINE: &str = "#state = :running AND #token = :token";

/// Keeps records in a DynamoDB table.
#[derive(Clone, Debug)]
pub struct DynamoResultStore {
    client: Client,
    table: String,
    copies_survive: Duration,
}

impl DynamoResultStore {
    /// A store in `table`, which [`create_table`] describes. `copies_survive` is
    /// the longest time for which a copy of a message may still turn up after
    /// its job is over: a tombstone rests that much longer.
    #[must_use]
    pub fn new(client: Client, table: impl Into<String>, copies_survive: Duration) -> Self {
        Self { client, table: table.into(), copies_survive }
    }

    /// The stored record, whatever a reader may see of it.
    async fn read(&self, job: &JobId) -> Result<Option<Record>, StoreError> {
        let item = self.read_item(job_key(job)).await?;
        item.map(|item| item::record(&item)).transpose()
    }

    async fn read_item(&self, key: AttributeValue) -> Result<Option<Item>, StoreError> {
        let call = self.client.get_item().table_name(&self.table).consistent_read(true);
        let output = call.key(item::PK, key).send().await.map_err(unreachable)?;
        Ok(output.item)
    }

    /// An arrow that leaves a record behind which rests until its tombstone ends.
    fn arrow(
        &self,
        condition: &'static str,
        job: &JobId,
        method: &str,
        end: Option<UnixMillis>,
    ) -> Arrow {
        let record = Record { completed_at: end, ..Record::new("") };
        let tombstone_until = record.tombstone_until(job, self.copies_survive);
        Arrow::new(condition).describing(job, method, tombstone_until)
    }

    /// The arrow to a terminal state; `condition` says who may take it.
    fn end(
        &self,
        condition: &'static str,
        job: &JobId,
        method: &str,
        end: &End,
        now: UnixMillis,
    ) -> Arrow {
        let completed_at = rules::completed_at(job, end.state, now);
        let arrow = self
            .arrow(condition, job, method, Some(completed_at))
            .set("state", item::number(end.state as u64))
            .set("completed", item::time(completed_at))
            .set("outcome", item::message(&end.outcome))
            .remove(&["token", "lease"])
            .silent();
        match &end.origin {
            Some(origin) => arrow.set_once("origin", item::message(origin)),
            None => arrow,
        }
    }
}

#[async_trait]
impl ResultStore for DynamoResultStore {
    async fn claim(
        &self,
        job: &JobId,
        request: ClaimRequest<'_>,
        now: UnixMillis,
    ) -> Result<Claimed, StoreError> {
        let ClaimRequest { method, token, lease_until, lapsed, ref origin } = request;
        let granted = |written: &Item| {
            let Record { attempt, origin, took_over, .. } = item::record(written)?;
            Ok(Claimed { claim: Claim::Granted { attempt }, origin, took_over })
        };
        let claimable = match lapsed {
            // (no record) | ACCEPTED ──────────────▶ RUNNING
            // RUNNING, lapsed, of another attempt ─▶ RUNNING
            Lapsed::Take => {
                "attribute_not_exists(pk) OR #state = :accepted \
                 OR (#state = :running AND #lease <= :now AND #token <> :token)"
            }
            // (no record) | ACCEPTED ──────────────▶ RUNNING
            Lapsed::Leave => "attribute_not_exists(pk) OR #state = :accepted",
        };
        for _ in 0..ROUNDS {
            let grant = self
                .arrow(claimable, job, method, None)
                .with("accepted", item::number(State::Accepted as u64))
                .with("running", item::number(State::Running as u64))
                .with("now", item::time(now))
                .set("token", item::token(token))
                .set_to("#from = if_not_exists(#token, :unheld)")
                .with("unheld", item::unheld())
                .set("lease", item::time(lease_until))
                .set_to("#state = :running")
                .set_to("#started = :now")
                .set_once("origin", item::message(origin))
                .add_one("attempt");
            let mut found = match grant.write(self, job_key(job)).await? {
                Ok(written) => return granted(&written),
                Err(found) => found,
            };
            if found.token != Some(token) {
                match rules::claim(&mut found, &request, now) {
                    Claim::Granted { .. } => continue,
                    claim => {
                        return Ok(Claimed { claim, origin: found.origin, took_over: false });
                    }
                }
            }
            // A repeat of this very claim.
            // RUNNING, mine ──▶ RUNNING, with the lease that the caller now counts on
            let repeat = Arrow::new(MINE)
                .with("running", item::number(State::Running as u64))
                .with("token", item::token(token))
                .set("lease", item::time(lease_until));
            if let Ok(written) = repeat.write(self, job_key(job)).await? {
                return granted(&written);
            }
        }
        Err(restless())
    }

    async fn renew(
        &self,
        job: &JobId,
        token: Token,
        lease: Lease,
        progress: Option<Progress>,
        _now: UnixMillis,
    ) -> Result<Renewed, StoreError> {
        // RUNNING, mine ──▶ RUNNING | ACCEPTED
        let mut arrow = Arrow::new(MINE)
            .with("running", item::number(State::Running as u64))
            .with("token", item::token(token));
        arrow = match lease {
            Lease::Until(until) => arrow.set("lease", item::time(until)),
            Lease::Release | Lease::Return => {
                let accepted = item::number(State::Accepted as u64);
                arrow.set("state", accepted).remove(&["token", "lease"])
            }
        };
        if lease == Lease::Return {
            arrow = arrow.set_to("#attempt = #attempt - :one").with("one", item::number(1));
        }
        if let Some(progress) = progress {
            arrow = arrow.set("progress", item::message(&progress));
        }
        Ok(match arrow.write(self, job_key(job)).await? {
            Ok(written) => {
                Renewed::Held { cancel_requested: item::record(&written)?.cancel_requested }
            }
            Err(_) => Renewed::Lost,
        })
    }

    async fn complete(
        &self,
        job: &JobId,
        method: &str,
        author: Author,
        end: End,
        now: UnixMillis,
    ) -> Result<Completed, StoreError> {
        rules::require_terminal(end.state)?;
        if let Some(refused) = rules::refused_by_time(job, author, end.state, now) {
            let finished = self.read(job).await?.is_some_and(|record| record.is_terminal());
            return Ok(if finished { Completed::AlreadyFinished } else { refused });
        }
        let running = item::number(State::Running as u64);
        let accepted = item::number(State::Accepted as u64);
        let arrow = match author {
            // RUNNING, mine ──▶ terminal
            Author::Claim(token) => self
                .end(MINE, job, method, &end, now)
                .with("running", running)
                .with("token", item::token(token)),
            // (no record) | ACCEPTED | RUNNING, lapsed ──▶ terminal
            Author::Unclaimed => self
                .end(FREE, job, method, &end, now)
                .with("accepted", accepted)
                .with("running", running)
                .with("now", item::time(now)),
            // (no record) | ACCEPTED | RUNNING ──▶ EXPIRED
            Author::Expiry => self
                .end(
                    "attribute_not_exists(pk) OR #state IN (:accepted, :running)",
                    job,
                    method,
                    &end,
                    now,
                )
                .with("accepted", accepted)
                .with("running", running),
        };
        match arrow.write(self, job_key(job)).await? {
            Ok(_) => Ok(Completed::Stored),
            Err(mut found) => match rules::complete(&mut found, job, method, author, end, now) {
                Completed::Stored => Err(restless()),
                refused => Ok(refused),
            },
        }
    }

    async fn get(&self, job: &JobId, now: UnixMillis) -> Result<Option<Record>, StoreError> {
        let record = self.read(job).await?;
        Ok(record.and_then(|record| rules::visible(record, job, self.copies_survive, now)))
    }

    async fn cancel(&self, job: &JobId, now: UnixMillis) -> Result<Cancelled, StoreError> {
        if rules::past_expiry(job, now) {
            let end = End::new(State::Expired, outcome::expired());
            self.complete(job, "", Author::Expiry, end, now).await?;
            return Ok(Cancelled::AlreadyFinished);
        }
        let end = End::new(State::Cancelled, outcome::cancelled());
        for _ in 0..ROUNDS {
            // (no record) | ACCEPTED | RUNNING, lapsed ──▶ CANCELLED
            let never = self
                .end(FREE, job, "", &end, now)
                .with("accepted", item::number(State::Accepted as u64))
                .with("running", item::number(State::Running as u64))
                .with("now", item::time(now));
            let Err(mut found) = never.write(self, job_key(job)).await? else {
                return Ok(Cancelled::BeforeStart);
            };
            if found.is_terminal() {
                return Ok(Cancelled::AlreadyFinished);
            }
            if rules::cancel(&mut found, job, now) != Cancelled::Requested {
                continue;
            }
            // RUNNING, not lapsed ──▶ RUNNING, with the wish noted
            let told = Arrow::new("#state = :running AND #lease > :now")
                .with("running", item::number(State::Running as u64))
                .with("now", item::time(now))
                .set("cancel", item::flag(true));
            if told.write(self, job_key(job)).await?.is_ok() {
                return Ok(Cancelled::Requested);
            }
        }
        Err(restless())
    }

    async fn delete(&self, job: &JobId, _now: UnixMillis) -> Result<Deleted, StoreError> {
        // terminal ──▶ terminal, without what was in it
        let emptied = Arrow::new("attribute_exists(#completed)")
            .set("deleted", item::flag(true))
            .remove(&["outcome", "progress"])
            .silent();
        match emptied.write(self, job_key(job)).await? {
            Ok(_) => Ok(Deleted::Deleted),
            Err(_) => Ok(Deleted::NotFinished),
        }
    }
}

fn unreachable<E: std::error::Error>(error: E) -> StoreError {
    StoreError(DisplayErrorContext(error).to_string())
}

fn restless() -> StoreError {
    StoreError("the record changed during every attempt to write it".to_owned())
}
