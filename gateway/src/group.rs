//! Groups: jobs of one method over a list of inputs, gathered like the branches of a
//! route. A job of a group is known by its number, so that any batch may be sent again.

use crate::audit;
use crate::auth::Verb;
use crate::callback;
use crate::config::Guarantee;
use crate::fan_out::{check_rule, deadline_of};
use crate::identity::Identity;
use crate::scatter::membership;
use crate::submission::Submission;
use crate::submit::{FrontDoor, Prepared, Ticket, not_authentic, request_key, unreachable};
use prost::Message;
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::{MAX_BRANCHES, MAX_GROUP, total};
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::submit_request::Expiry;
use queuebridge_proto::v1::{
    GatherPlan, GatherRule, Group, Membership, PlannedBranch, State, SubmitRequest, TraceContext,
};
use queuebridge_proto::{JobId, MethodName, UnixMillis};
use queuebridge_store::Accepted;
use sha2::{Digest, Sha256};
use std::time::Duration;
use tonic::{Code, Status};

/// Jobs that have less time than this are not worth sending.
const MIN_LEFT: Duration = Duration::from_secs(1);

/// A group that jobs may join.
#[derive(Clone)]
pub struct Members {
    /// Its id.
    pub id: JobId,
    /// What is written down of it.
    pub plan: GatherPlan,
    first: u32,
}

impl Members {
    /// Whether the same subject has begun the group.
    #[must_use]
    pub fn belongs_to(&self, caller: &Identity) -> bool {
        self.plan.owner[..] == caller.owner()
    }

    /// A job that fails may end the group, and one under the number of another keeps that
    /// from running: to add to what others have begun is to cancel it.
    fn may_be_joined(&self, caller: &Identity) -> Result<(), Status> {
        if self.belongs_to(caller) {
            return Ok(());
        }
        may_add(caller, &self.id, &self.plan.method)
    }
}

/// What makes a submission a job of a group.
pub struct Member {
    /// The gather that it belongs to.
    pub gather: JobId,
    /// What its envelope says of that.
    pub membership: Membership,
}

impl FrontDoor {
    /// Begins a group, or goes on with one, for the jobs of a batch.
    ///
    /// # Errors
    /// A status that names the field and its rule.
    pub async fn group(
        &self,
        caller: &Identity,
        group: &Group,
        jobs: &[SubmitRequest],
    ) -> Result<Members, Status> {
        let first = &jobs[0];
        let granted = caller.may(Verb::Submit, &first.method);
        granted.inspect_err(|status| audit::refused(caller, &first.method, status))?;
        for (index, job) in jobs.iter().enumerate() {
            check_member(index, job, &first.method)?;
        }
        let members = if group.id.is_empty() {
            self.begin(caller, group, first, jobs.len()).await?
        } else {
            self.go_on(caller, group, jobs.len()).await?
        };
        if members.plan.method != first.method {
            return Err(error::invalid_field("jobs[0].method", "not that of the group"));
        }
        let (now, plan) = (self.clock.now(), &members.plan);
        let left = now.until(UnixMillis(plan.expires_at));
        if now >= members.id.expires_at() || left < MIN_LEFT {
            return Err(over("the group's time is over"));
        }
        Ok(members)
    }

    async fn begin(
        &self,
        caller: &Identity,
        group: &Group,
        job: &SubmitRequest,
        jobs: usize,
    ) -> Result<Members, Status> {
        let request = SubmitRequest {
            expiry: group.expire_after.map(Expiry::ExpireAfter),
            result_retention: group.result_retention,
            request_id: group.request_id.clone(),
            callback: group.callback.clone(),
            ..job.clone()
        };
        let now = self.clock.now();
        let mut job = Submission::check(request, &self.routes, caller, &self.job_id_keys, now)?;
        if job.fan_out.is_some() {
            return Err(branched());
        }
        callback::check_of(&caller.tenant, &job, self.callbacks.as_ref())?;
        let size = if group.total == 0 { jobs as u64 } else { u64::from(group.total) };
        let size = u32::try_from(size).ok().filter(|size| *size <= MAX_GROUP);
        let size = size.ok_or_else(|| error::invalid_field("group.total", "at most 65,536"))?;
        check_fits(group, jobs, size)?;
        let rule = group.rule.clone().unwrap_or_default();
        check(&rule, size, job.route.config.guarantee == Guarantee::Claimed)?;
        let left = now.until(job.expires_at);
        let deadline = deadline_of(&rule).unwrap_or(left);
        if deadline < Duration::from_secs(1) || deadline > left {
            let rule = "from 1s to the work expiry";
            return Err(error::invalid_field("group.rule.deadline", rule));
        }
        let timed = deadline_of(&rule).is_some() || job.callback.is_some();
        let mut plan = plan(caller, &job, rule, size);
        let id = self.new_gather(caller, &job, now.plus(deadline), now);
        let id = match job.request_id.take() {
            None => id,
            Some(request_id) => {
                self.begin_once(caller, id, &job.method, &request_id, group, &mut plan).await?
            }
        };
        let members = Members { id, plan: self.open_plan(&id, plan).await?, first: group.first };
        members.may_be_joined(caller)?;
        self.start_timer(caller, &id, &job, timed).await?;
        Ok(members)
    }

    /// The same `request_id` leads to the same group, which belongs to whoever was first,
    /// also where its plan is written by another.
    async fn begin_once(
        &self,
        caller: &Identity,
        id: JobId,
        method: &MethodName,
        request_id: &str,
        group: &Group,
        plan: &mut GatherPlan,
    ) -> Result<JobId, Status> {
        // No method contains a blank: groups and jobs have their ids apart.
        let method = format!("group {method}");
        let key = request_key(&caller.tenant, &method, request_id);
        let digest = digest(group, plan);
        match self.record(caller, &key, &id, &digest).await? {
            Accepted::New => Ok(id),
            // The plan of an earlier version would not do either.
            Accepted::Existing { mac, .. } if mac.is_empty() => Err(not_authentic("request id")),
            Accepted::Existing { job, digest: known, owner, .. } if known == digest => {
                if let Some(owner) = owner.filter(|owner| *owner != caller.owner()) {
                    may_add(caller, &job, &plan.method)?;
                    plan.owner = owner.to_vec().into();
                }
                Ok(job)
            }
            Accepted::Existing { .. } => {
                let rule = "was used with another group of this method";
                let (code, reason) = (Code::AlreadyExists, reason::REQUEST_ID_REUSED);
                Err(error::refused_field(code, reason, "group.request_id", rule))
            }
        }
    }

    async fn go_on(
        &self,
        caller: &Identity,
        group: &Group,
        jobs: usize,
    ) -> Result<Members, Status> {
        let id = JobId::verify(&group.id, &caller.tenant, &self.job_id_keys);
        let id = id.map_err(|error| crate::lookup::bad_id("group.id", error))?;
        let plan = self.plan_of(&id).await?;
        let unknown = || error::invalid_field("group.id", "not the id of a group");
        let plan = plan.filter(|plan| plan.group).ok_or_else(unknown)?;
        let members = Members { id, plan, first: group.first };
        members.may_be_joined(caller)?;
        let verdict = self.gathers.results.get(&id, self.clock.now()).await.map_err(unreachable)?;
        // A batch of a group that has succeeded can only be one that was sent before.
        if verdict.is_some_and(|of| of.is_terminal() && of.state != State::Succeeded) {
            return Err(over("the group has ended, and has not succeeded"));
        }
        check_fits(group, jobs, total(&members.plan))?;
        Ok(members)
    }

    /// Accepts a job of a group: when this returns `Ok`, its queue has it.
    ///
    /// # Errors
    /// As [`FrontDoor::accept`].
    pub async fn accept_member(
        &self,
        caller: &Identity,
        group: &Members,
        position: u32,
        request: SubmitRequest,
        trace: Option<TraceContext>,
    ) -> Result<Ticket, Status> {
        let (now, expires_at) = (self.clock.now(), UnixMillis(group.plan.expires_at));
        let expiry = Some(Expiry::ExpireTime(expires_at.to_proto()));
        let request = SubmitRequest { expiry, ..request };
        let mut job = Submission::check(request, &self.routes, caller, &self.job_id_keys, now)?;
        if job.fan_out.is_some() {
            return Err(branched());
        }
        if now.plus(Duration::from_secs(job.delay_seconds.into())) >= group.id.expires_at() {
            return Err(error::invalid_field("delay", "must end before the group's deadline"));
        }
        let index = group.first.saturating_add(position);
        job.expires_at = expires_at;
        let id = group.id.branch(index, job.method.as_str(), job.expires_at);
        let branch = index.to_string();
        let membership = Membership { index, branch, ..membership(&group.id, &group.plan) };
        job.callback.clone_from(&group.plan.callback);
        job.member = Some(Box::new(Member { gather: group.id, membership }));
        let prepared = Prepared::new(id.signed(&self.job_id_keys), job);
        self.accept(caller, prepared, trace).await
    }
}

fn plan(caller: &Identity, job: &Submission, rule: GatherRule, size: u32) -> GatherPlan {
    let listed = usize::try_from(size).is_ok_and(|size| size <= MAX_BRANCHES);
    let branch =
        |index: u32| PlannedBranch { name: index.to_string(), method: job.method.to_string() };
    GatherPlan {
        rule: Some(rule),
        tenant: caller.tenant.to_string(),
        method: job.method.to_string(),
        branches: if listed { (0..size).map(branch).collect() } else { Vec::new() },
        expires_at: job.expires_at.0,
        callback: job.callback.clone(),
        total: if listed { 0 } else { size },
        group: true,
        owner: caller.owner().to_vec().into(),
        ..GatherPlan::default()
    }
}

/// What a group is, for those who begin it under a `request_id`: all that is said of it. The
/// plan's own times depend on when that was.
fn digest(group: &Group, plan: &GatherPlan) -> [u8; 32] {
    let GatherPlan { rule, method, callback, .. } = plan;
    let Group { expire_after, result_retention, .. } = group;
    let said = GatherPlan {
        rule: rule.clone(),
        method: method.clone(),
        callback: callback.clone(),
        total: total(plan),
        ..GatherPlan::default()
    };
    let times = Group {
        expire_after: *expire_after,
        result_retention: *result_retention,
        ..Group::default()
    };
    Sha256::new_with_prefix("queuebridge.v1.Group")
        .chain_update(said.encode_length_delimited_to_vec())
        .chain_update(times.encode_length_delimited_to_vec())
        .finalize()
        .into()
}

/// To add to what another has begun.
fn may_add(caller: &Identity, group: &JobId, method: &str) -> Result<(), Status> {
    let granted = caller.may_with(Verb::Cancel, group);
    granted.inspect_err(|status| audit::refused(caller, method, status))
}

fn branched() -> Status {
    error::invalid_field("group", "the method's route has branches of its own")
}

fn over(why: &str) -> Status {
    error::status(Code::FailedPrecondition, reason::GROUP_OVER, why)
}

fn check_fits(group: &Group, jobs: usize, size: u32) -> Result<(), Status> {
    if u64::from(group.first) + jobs as u64 <= u64::from(size) {
        return Ok(());
    }
    Err(error::invalid_field("group.first", "this batch goes beyond the group"))
}

/// What a job cannot say for itself.
fn check_member(index: usize, job: &SubmitRequest, method: &str) -> Result<(), Status> {
    let given = [
        ("method", job.method != method, "jobs of a group are of one method"),
        ("request_id", !job.request_id.is_empty(), "the group has one"),
        ("job_id", !job.job_id.is_empty(), "a job of a group is known by its number"),
        ("resubmit_token", !job.resubmit_token.is_empty(), "send the batch again instead"),
        ("expire_after", job.expiry.is_some(), "the group has one"),
        ("result_retention", job.result_retention.is_some(), "the group has one"),
        ("callback", job.callback.is_some(), "the group has one"),
        ("gather", job.gather.is_some(), "the group has a rule"),
        ("branches", !job.branches.is_empty(), "a job of a group has none"),
    ];
    match given.into_iter().find(|(_, given, _)| *given) {
        Some((field, _, rule)) => {
            Err(error::invalid_field(&format!("jobs[{index}].{field}"), rule))
        }
        None => Ok(()),
    }
}

fn check(rule: &GatherRule, size: u32, claimed: bool) -> Result<(), Status> {
    let wrong = |key: &str, problem: &str| {
        Err(error::invalid_field(&format!("group.rule.{key}"), problem.to_owned()))
    };
    let names: Vec<String> = (0..size).map(|index| index.to_string()).collect();
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    if let Err((key, problem)) = check_rule(rule, &names, claimed) {
        return wrong(key, &problem);
    }
    if usize::try_from(size).is_ok_and(|size| size <= MAX_BRANCHES) {
        return Ok(());
    }
    let few = "only in groups of at most 256 jobs";
    match &rule.answer {
        Some(Answer::Primary(_)) => return wrong("primary", few),
        Some(Answer::Merge(true)) => return wrong("merge", few),
        _ => {}
    }
    if rule.need != 0 && rule.need != size {
        return wrong("need", few);
    }
    if rule.cancel_rest { wrong("cancel_rest", few) } else { Ok(()) }
}
