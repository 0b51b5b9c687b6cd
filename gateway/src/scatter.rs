//! Sending a job to its branches: over a topic that copies one message, or to each
//! branch's queue.

use crate::config::Destination;
use crate::fan_out::{Selected, deadline_of};
use crate::identity::Identity;
use crate::message;
use crate::publish::PublishError;
use crate::submission::Submission;
use crate::submit::{FrontDoor, Origin};
use futures_util::future::join_all;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{code, is_success, total};
use queuebridge_proto::v1::call::Payload;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::{
    Addressee, Call, CallbackMessage, GatherPlan, Membership, PlannedBranch, State,
};
use queuebridge_proto::{JobId, UnixMillis, outcome};
use queuebridge_store::gather::{Cause, branch_ids};
use queuebridge_store::{Author, Completed, End, StoreError, payload};
use std::time::Duration;
use tonic::metadata::MetadataMap;
use tonic::{Code, Status};

/// What a branch's own message has besides that of a job: its name of at most 64
/// characters, the method of at most 256, twice an id, the rule.
const MEMBERSHIP_BYTES: usize = 1024;

/// The most bytes of all messages to the branches of one job: a larger one puts its request
/// into the payload store, where there is one.
pub(crate) const MAX_COPIES: usize = 8 << 20;

/// Whether a job is to be decided by a time of its own.
pub(crate) fn has_deadline(job: &Submission) -> bool {
    job.fan_out.as_ref().is_some_and(|selected| deadline_of(&selected.rule).is_some())
}

impl FrontDoor {
    /// How large the message of a call will be at most, wherever it goes.
    pub(crate) fn size_of(&self, call: &Call, job: &Submission) -> usize {
        let size = message::size_of(call) + self.seal.overhead();
        let Some(selected) = &job.fan_out else { return size };
        let addressee = |branch: &PlannedBranch| 2 * branch.name.len() + branch.method.len() + 96;
        let all = selected.branches.iter().map(addressee).sum::<usize>();
        let addressees = if topic(job) { all.div_ceil(3) * 4 } else { 0 };
        size + MEMBERSHIP_BYTES + addressees
    }

    /// The bytes of the messages that a call becomes beyond its first, where each branch
    /// has one of its own.
    pub(crate) fn copies(call: &Call, job: &Submission) -> usize {
        let branches = job.fan_out.as_ref().map_or(1, |selected| selected.branches.len());
        if topic(job) { 0 } else { message::size_of(call) * branches.saturating_sub(1) }
    }

    /// Writes the branches down before anything is sent. The plan that stands may be that
    /// of an earlier try of the same submission.
    pub(crate) async fn write_plan(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        selected: &Selected,
        call: &Call,
    ) -> Result<GatherPlan, Status> {
        let plan =
            selected.plan(&caller.tenant, &job.method, job.expires_at, job.callback.as_ref());
        let retry_of = job.retry_of.map(|id| id.to_string()).unwrap_or_default();
        // A branch's queue may turn out to take less than was known, so that the request
        // is stored later.
        let request_key = match &call.payload {
            Some(Payload::RequestRef(stored)) => stored.key.clone(),
            _ if self.payloads.is_some() => {
                payload::request_key(&caller.tenant, id, &job.request_sha256())
            }
            _ => String::new(),
        };
        let plan = GatherPlan { retry_of, request_key, ..plan };
        self.open_plan(id, plan).await
    }

    /// Sends the job to all branches of its plan; the numbers of those whose queues have
    /// refused it, if any other has taken it.
    pub(crate) async fn scatter(
        &self,
        caller: &Identity,
        id: &JobId,
        job: &Submission,
        call: Call,
        plan: &GatherPlan,
    ) -> Result<Vec<u32>, Status> {
        let membership = membership(id, plan);
        let origin = Origin { caller, id, job };
        if topic(job) {
            let call = Call { membership: Some(Box::new(membership)), ..call };
            let copied = self.copy(&origin, call, plan).await;
            copied.map_err(|error| self.refusal(caller, id, job, &error))?;
            return Ok(Vec::new());
        }
        let each = (0..).zip(branch_ids(id, plan)).zip(&plan.branches);
        let sent = each.map(|((index, branch_id), branch)| {
            let branch_id = branch_id.signed(&self.job_id_keys);
            let membership =
                Membership { index, branch: branch.name.clone(), ..membership.clone() };
            let call = Call {
                job_id: branch_id.to_string(),
                method: branch.method.clone(),
                membership: Some(Box::new(membership)),
                ..call.clone()
            };
            self.send(&origin, branch_id, call, &branch.name)
        });
        sort_out(id, &join_all(sent).await).map_err(|error| self.refusal(caller, id, job, &error))
    }

    /// One message that the topic copies.
    async fn copy(
        &self,
        origin: &Origin<'_>,
        mut call: Call,
        plan: &GatherPlan,
    ) -> Result<(), PublishError> {
        let Origin { id, job, .. } = origin;
        if let Some(membership) = &mut call.membership {
            let each = branch_ids(id, plan).into_iter().zip(&plan.branches);
            let addressee = |(branch_id, branch): (JobId, &PlannedBranch)| Addressee {
                branch: branch.name.clone(),
                job_id: branch_id.signed(&self.job_id_keys).to_string(),
                method: if branch.method == plan.method {
                    String::new()
                } else {
                    branch.method.clone()
                },
            };
            membership.addressees = each.map(addressee).collect();
        }
        self.send_call(origin, job.route.batchers.first(), id, call).await
    }

    async fn send(
        &self,
        origin: &Origin<'_>,
        id: JobId,
        call: Call,
        branch: &str,
    ) -> Result<(), PublishError> {
        let job = origin.job;
        let configured = job.route.config.fan_out.iter().flat_map(|fan_out| &fan_out.branches);
        let queue = configured.zip(&job.route.batchers).find(|(known, _)| known.name == branch);
        let Some((_, queue)) = queue else {
            return Err(PublishError::Refused(format!(
                "the route has no branch {branch} any more"
            )));
        };
        self.send_call(origin, Some(queue), &id, call).await
    }

    /// Branches that no queue has taken have failed, and the rule decides what that
    /// means. If a store does not answer they stay open until the deadline.
    pub(crate) async fn settle_unsent(&self, id: &JobId, plan: &GatherPlan, unsent: &[u32]) {
        if !unsent.is_empty()
            && let Err(error) = self.fail_unsent(id, plan, unsent).await
        {
            tracing::error!(job = %id, %error, ?unsent, "branches that were not sent stay open");
        }
    }

    async fn fail_unsent(
        &self,
        id: &JobId,
        plan: &GatherPlan,
        unsent: &[u32],
    ) -> Result<(), StoreError> {
        let now = self.clock.now();
        let each = (0..).zip(branch_ids(id, plan)).zip(&plan.branches);
        for ((index, branch_id), branch) in each.filter(|((index, _), _)| unsent.contains(index)) {
            let message = "the branch's queue refused the job; see the gateway's log";
            let status = error::status(Code::Internal, reason::PUBLISH_FAILED, message);
            let state = State::Failed;
            let end = End::new(state, outcome::failure(&status, &MetadataMap::new()));
            let results = &self.gathers.results;
            let ended = results.complete(&branch_id, &branch.method, Author::Unclaimed, end, now);
            let ended = match ended.await? {
                Completed::Stored => Some((state, status.code())),
                // By an earlier try, or because an earlier copy was taken after all.
                Completed::AlreadyFinished => {
                    let record = results.get(&branch_id, now).await?;
                    record.and_then(|of| Some((of.state, code(of.state, Some(&of.outcome?)))))
                }
                // Somebody runs it, and will note its end.
                Completed::Lost | Completed::PastExpiry => None,
            };
            if let Some((state, code)) = ended {
                let success = plan.rule.as_ref().is_some_and(|rule| is_success(rule, state, code));
                self.gathers.gathers.add(id, index, success, now).await?;
            }
        }
        if let Some(verdict) = self.gathers.close(id, Cause::Unsent, now).await? {
            // The timer tells as well, should this process die here.
            if let Err(status) = self.tell(id).await {
                tracing::warn!(job = %id, %status, "a callback is left to its timer");
            }
            self.gathers.cancel_rest(id, &verdict, now).await?;
        }
        Ok(())
    }

    /// Enqueues the callback of a gather that was decided here, if it has one.
    pub(crate) async fn tell(&self, id: &JobId) -> Result<(), Status> {
        let Some(callbacks) = &self.callbacks else { return Ok(()) };
        let plan = match self.plan_of(id).await {
            // Its timer, which is sealed, tells.
            Err(status) if status.code() == Code::DataLoss => return Ok(()),
            plan => plan?,
        };
        let Some(plan) = plan else { return Ok(()) };
        let Some(callback) = plan.callback else { return Ok(()) };
        let told = CallbackMessage {
            method: plan.method,
            tenant: plan.tenant,
            callback: Some(callback),
            ..CallbackMessage::default()
        };
        let enqueued = callbacks.enqueue(id, told, &self.seal).await;
        enqueued.map_err(|error| {
            tracing::warn!(job = %id, %error, "a callback was not enqueued");
            let (code, reason) = (Code::Unavailable, reason::PUBLISH_FAILED);
            let message = "the callback queue did not take the callback; try again";
            error::retry_after(code, reason, message, Duration::from_secs(1))
        })
    }
}

/// The delay that is the queue's to keep, in seconds.
pub(crate) fn queue_delay(job: &Submission) -> u16 {
    if topic(job) { 0 } else { job.delay_seconds }
}

/// Topics have no delays: there it is the worker's, which sends what comes too early to
/// its own queue again.
pub(crate) fn not_before(job: &Submission, now: UnixMillis) -> Option<prost_types::Timestamp> {
    let delay = Duration::from_secs(job.delay_seconds.into());
    (topic(job) && !delay.is_zero()).then(|| now.plus(delay).to_proto())
}

fn topic(job: &Submission) -> bool {
    matches!(job.route.config.destination, Destination::Topic(_))
}

pub(crate) fn membership(id: &JobId, plan: &GatherPlan) -> Membership {
    let rule = plan.rule.clone().unwrap_or_default();
    let primary = match &rule.answer {
        Some(Answer::Primary(name)) => plan.branches.iter().position(|b| b.name == *name),
        _ => None,
    };
    let number = |index: usize| u32::try_from(index).unwrap_or(u32::MAX);
    Membership {
        gather_id: id.to_string(),
        gather_method: plan.method.clone(),
        rule: Some(rule),
        total: total(plan),
        primary: primary.map_or(0, |index| number(index + 1)),
        group: plan.group,
        ..Membership::default()
    }
}

/// Whether a queue does not take the message, now or later.
fn is_refused(error: &PublishError) -> bool {
    matches!(error, PublishError::Refused(_) | PublishError::TooLarge(_))
}

/// What became of the messages to the branches. Whoever may do better by sending again is
/// told so: the branches that have theirs are not run twice, where they are claimed.
fn sort_out(id: &JobId, sent: &[Result<(), PublishError>]) -> Result<Vec<u32>, PublishError> {
    let refused: Vec<u32> = (0..)
        .zip(sent)
        .filter(|(_, sent)| sent.as_ref().is_err_and(is_refused))
        .map(|(index, sent)| {
            tracing::error!(job = %id, branch = index, ?sent, "a branch's queue refused a job");
            index
        })
        .collect();
    let taken = sent.iter().any(Result::is_ok);
    let open = sent.iter().filter_map(|sent| sent.as_ref().err());
    let open = open.filter(|error| !is_refused(error));
    // An unknown outcome before one that is certain.
    match open.max_by_key(|error| matches!(error, PublishError::Unknown(_))) {
        Some(error) if taken => Err(PublishError::Unknown(error.to_string())),
        Some(error) => Err(error.clone()),
        None if taken => Ok(refused),
        None => {
            let first = sent.iter().find_map(|sent| sent.as_ref().err());
            first.map_or(Ok(refused), |error| Err(error.clone()))
        }
    }
}
