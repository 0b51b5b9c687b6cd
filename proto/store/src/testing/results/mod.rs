//! The conformance suite of [`ResultStore`], [`SubmissionStore`] and [`LeaseStore`].
//!
//! Time is only an argument, so the suite takes no time by itself. Every case
//! uses jobs and keys of its own: the store may be shared, and need not be empty.

mod accept;
mod cancel;
mod claim;
mod complete;
mod delete;
mod expiry;
mod leases;
mod origin;
mod races;
mod read;
mod renew;
mod repeats;

use super::run;
use crate::lease::LeaseStore;
use crate::record::{Record, Token};
use crate::result::{
    Author, Cancelled, Claim, ClaimRequest, Claimed, Completed, Deleted, End, Lapsed, Lease,
    Renewed, ResultStore,
};
use crate::submission::{Accepted, NewSubmission, Owner, RequestKey, SubmissionStore};
use bytes::Bytes;
use queuebridge_proto::job_id::Claims;
use queuebridge_proto::time::CLOCK_SKEW;
use queuebridge_proto::v1::outcome::Result as Kind;
use queuebridge_proto::v1::{Origin, Outcome, State};
use queuebridge_proto::{JobId, Keyring, UnixMillis};
use std::sync::Arc;
use std::time::Duration;

/// Runs every case against `store`, which was made with `copies_survive`.
///
/// # Panics
/// When a case fails, with its name.
pub async fn conformance<S>(store: Arc<S>, copies_survive: Duration)
where
    S: ResultStore + SubmissionStore + LeaseStore,
{
    conformance_of(store.clone(), store.clone(), store, copies_survive).await;
}

/// Runs every case against stores that are not one.
///
/// # Panics
/// When a case fails, with its name.
pub async fn conformance_of(
    store: Arc<dyn ResultStore>,
    submissions: Arc<dyn SubmissionStore>,
    leases: Arc<dyn LeaseStore>,
    copies_survive: Duration,
) {
    let subject = Subject { store, submissions, leases, copies_survive };
    run!(subject;
        claim:
            the_first_claim_is_attempt_one,
            a_repeat_is_the_same_attempt_with_the_new_lease,
            a_live_lease_keeps_others_out_until_its_last_millisecond,
            a_repeat_after_the_lapse_is_still_the_same_attempt,
            a_released_claim_is_granted_at_once,
            a_finished_job_is_not_granted,
            a_cancelled_job_says_so,
            a_lapsed_claim_can_be_left_as_it_is,
            without_a_lapse_it_makes_no_difference,
            the_method_is_learned_once;
        origin:
            the_first_claim_says_how_the_job_began,
            a_later_copy_says_nothing_about_it,
            every_answer_to_a_claim_tells_it,
            a_job_that_began_with_nothing_is_not_given_something_later,
            an_end_without_a_claim_says_it,
            an_end_changes_nothing_that_a_claim_has_said,
            it_stays_with_the_tombstone,
            without_a_claim_there_is_none;
        renew:
            a_renewed_lease_keeps_others_out_longer,
            progress_is_stored_and_kept,
            a_release_gives_the_claim_up_and_keeps_the_count,
            a_return_does_not_count,
            a_lapsed_lease_that_nobody_took_can_be_renewed,
            a_claim_that_was_taken_over_is_lost,
            without_a_record_there_is_nothing_to_renew,
            a_finished_job_cannot_be_renewed;
        complete:
            the_holder_finishes_in_every_terminal_state,
            the_holder_finishes_after_its_lease_lapsed,
            a_late_attempt_does_not_overwrite,
            a_claim_that_was_never_granted_finishes_nothing,
            a_released_claim_finishes_nothing,
            without_a_claim_a_job_is_finished_once,
            without_a_claim_a_live_lease_is_respected,
            the_first_end_stays,
            the_known_method_is_kept,
            only_terminal_states_are_taken;
        expiry:
            nobody_expires_a_job_before_the_skew_is_over,
            an_expiry_ends_a_job_that_nobody_took,
            an_expiry_ends_a_running_job,
            an_expiry_ends_in_no_other_state,
            the_holder_may_expire_its_job_from_the_expiry_on,
            without_a_claim_a_job_is_expired_from_the_expiry_on,
            a_result_is_taken_until_the_skew_is_over,
            a_finished_job_says_so_also_past_its_expiry,
            a_cancellation_past_the_expiry_expires_the_job;
        cancel:
            a_job_that_nobody_took_never_runs,
            a_released_job_never_runs_again,
            a_lapsed_job_never_runs_again,
            a_running_job_is_told,
            the_wish_outlives_the_attempt,
            a_finished_job_is_not_cancelled;
        read:
            an_untouched_job_has_no_record,
            a_result_is_read_until_its_retention_is_over,
            a_tombstone_ends_when_no_copy_survives,
            an_early_end_keeps_the_tombstone_past_the_expiry,
            an_unfinished_record_rests_as_long_as_any;
        delete:
            a_deleted_result_is_gone_and_its_tombstone_stays,
            what_is_not_finished_is_not_deleted,
            a_deletion_can_be_repeated;
        leases:
            a_lease_has_one_holder,
            a_holder_prolongs_its_lease,
            a_lease_is_free_from_its_end_on,
            a_released_lease_is_free_at_once,
            only_the_holder_releases,
            names_are_independent,
            one_of_many_is_the_holder;
        accept:
            the_first_submission_wins,
            the_owner_is_that_of_the_first_submission,
            a_published_submission_says_so,
            what_was_submitted_is_found,
            keys_are_independent,
            a_key_is_free_again_after_its_tombstone,
            a_mark_without_a_submission_is_harmless;
        races:
            one_of_many_claims_is_granted,
            a_lapsed_claim_is_granted_once,
            one_of_many_completions_is_stored,
            holder_reader_and_caller_agree_on_one_end,
            a_cancellation_and_a_claim_do_not_both_win,
            one_of_many_submissions_is_the_first;
        repeats:
            a_claim_with_a_lost_response_is_granted_again,
            a_completion_with_a_lost_response_is_stored_once,
            a_submission_with_a_lost_response_owns_its_key,
            a_cancellation_with_a_lost_response_stands,
            a_lost_request_changes_nothing;
    );
}

/// When the jobs of the suite are submitted. It lies in the future, so that no
/// store drops a record of the suite by its own clock.
const SUBMITTED: UnixMillis = UnixMillis(4_000_000_000_000);
const WORK: Duration = Duration::from_secs(60);
const RETENTION: Duration = Duration::from_secs(3600);
const EXPIRES: UnixMillis = at(60_000);
const METHOD: &str = "/suite.Service/Method";
const OWNER: Owner = [9; 16];
const MAC: &[u8] = b"mac";

/// The store under test.
#[derive(Clone)]
struct Subject {
    store: Arc<dyn ResultStore>,
    submissions: Arc<dyn SubmissionStore>,
    leases: Arc<dyn LeaseStore>,
    copies_survive: Duration,
}

impl Subject {
    async fn claim(&self, job: &JobId, token: Token, lease: u64, now: u64) -> Claim {
        self.claim_as(job, ClaimRequest::new(METHOD, token, at(lease), Lapsed::Take), now)
            .await
            .claim
    }

    /// A claim that takes nothing over.
    async fn claim_unheld(&self, job: &JobId, token: Token, lease: u64, now: u64) -> Claim {
        self.claim_as(job, ClaimRequest::new(METHOD, token, at(lease), Lapsed::Leave), now)
            .await
            .claim
    }

    async fn claim_as(&self, job: &JobId, request: ClaimRequest<'_>, now: u64) -> Claimed {
        self.store.claim(job, request, at(now)).await.unwrap()
    }

    async fn accept(
        &self,
        key: &RequestKey,
        job: &JobId,
        digest: &[u8; 32],
        now: UnixMillis,
    ) -> Accepted {
        let submission = NewSubmission { job, digest, owner: &OWNER, mac: MAC };
        self.submissions.accept(key, submission, now).await.unwrap()
    }

    async fn renew(&self, job: &JobId, token: Token, lease: Lease, now: u64) -> Renewed {
        self.store.renew(job, token, lease, None, at(now)).await.unwrap()
    }

    async fn complete(&self, job: &JobId, author: Author, state: State, now: u64) -> Completed {
        let end = End::new(state, outcome(state.as_str_name()));
        self.store.complete(job, METHOD, author, end, at(now)).await.unwrap()
    }

    async fn cancel(&self, job: &JobId, now: u64) -> Cancelled {
        self.store.cancel(job, at(now)).await.unwrap()
    }

    async fn find(&self, job: &JobId, now: UnixMillis) -> Option<Record> {
        self.store.get(job, now).await.unwrap()
    }

    async fn get(&self, job: &JobId, now: u64) -> Record {
        self.find(job, at(now)).await.expect("there is a record")
    }

    /// A job that runs from time 0 until its lease ends at 1000.
    async fn running(&self) -> (JobId, Token) {
        let (job, token) = (job(), Token::random());
        assert_eq!(self.claim(&job, token, 1000, 0).await, Claim::Granted { attempt: 1 });
        (job, token)
    }

    /// A job whose first attempt was released at time 1.
    async fn released(&self) -> (JobId, Token) {
        let (job, token) = self.running().await;
        let held = Renewed::Held { cancel_requested: false };
        assert_eq!(self.renew(&job, token, Lease::Release, 1).await, held);
        (job, token)
    }

    /// A job that ended at time 1.
    async fn finished(&self, state: State) -> JobId {
        let job = job();
        // Nobody expires a job this early.
        assert_ne!(state, State::Expired);
        assert_eq!(self.complete(&job, Author::Unclaimed, state, 1).await, Completed::Stored);
        job
    }
}

/// So many milliseconds after the submission.
const fn at(millis: u64) -> UnixMillis {
    UnixMillis(SUBMITTED.0 + millis)
}

/// Milliseconds from the submission to the expiry plus the skew.
fn over() -> u64 {
    EXPIRES.plus(CLOCK_SKEW).0 - SUBMITTED.0
}

fn before(time: UnixMillis) -> UnixMillis {
    UnixMillis(time.0 - 1)
}

fn job() -> JobId {
    let mut random = [0; 10];
    random.copy_from_slice(&Token::random().as_bytes()[..10]);
    let claims = Claims {
        uuid: uuid::Builder::from_unix_timestamp_millis(SUBMITTED.0, &random).into_uuid(),
        tenant: "suite",
        method: METHOD,
        expires_at: SUBMITTED.plus(WORK),
        retention: RETENTION,
        at_least_once: false,
        reply_shard: None,
    };
    JobId::mint(&claims, &Keyring::single(&[7; 32]))
}

fn outcome(text: &str) -> Outcome {
    let response = Bytes::copy_from_slice(text.as_bytes());
    Outcome { result: Some(Kind::Response(response)), ..Outcome::default() }
}
