//! Which branches a job goes to, and when its gather is decided.

use crate::config::{FanOut, Guarantee, RouteConfig};
use queuebridge_proto::error::{self, reason};
use queuebridge_proto::gather::need;
use queuebridge_proto::time::duration_from_proto;
use queuebridge_proto::v1::gather_rule::Answer;
use queuebridge_proto::v1::{Callback, GatherPlan, GatherRule, PlannedBranch, SubmitRequest};
use queuebridge_proto::{MethodName, UnixMillis};
use std::collections::BTreeSet;
use std::time::Duration;
use tonic::{Code, Status};

const MIN_DEADLINE: Duration = Duration::from_secs(1);
/// The largest gRPC code.
const MAX_CODE: i32 = 16;

/// What a submission to a route with branches comes to.
#[derive(Clone, Debug, PartialEq)]
pub struct Selected {
    /// When it is decided.
    pub rule: GatherRule,
    /// By when it is decided at the latest.
    pub deadline: UnixMillis,
    /// The branches it goes to, in the order of the route.
    pub branches: Vec<PlannedBranch>,
}

impl Selected {
    /// What is written down before the branches are published.
    #[must_use]
    pub fn plan(
        &self,
        tenant: &str,
        method: &MethodName,
        expires_at: UnixMillis,
        callback: Option<&Callback>,
    ) -> GatherPlan {
        GatherPlan {
            rule: Some(self.rule.clone()),
            tenant: tenant.to_owned(),
            method: method.to_string(),
            branches: self.branches.clone(),
            expires_at: expires_at.0,
            callback: callback.cloned(),
            ..GatherPlan::default()
        }
    }
}

/// The branches of a submission that keeps its rules; `None` where the route has none.
///
/// # Errors
/// A status that names the field and its rule.
pub fn select(
    request: &SubmitRequest,
    method: &MethodName,
    config: &RouteConfig,
    expires_at: UnixMillis,
    now: UnixMillis,
) -> Result<Option<Selected>, Status> {
    let Some(fan_out) = &config.fan_out else {
        let given =
            [("gather", request.gather.is_some()), ("branches", !request.branches.is_empty())];
        return match given.iter().find(|(_, given)| *given) {
            Some((field, _)) => {
                Err(error::invalid_field(field, "the method's route has no branches"))
            }
            None => Ok(None),
        };
    };
    let branches = branches(request, method, fan_out)?;
    let rule = request.gather.as_ref().unwrap_or(&fan_out.rule).clone();
    let names: Vec<&str> = branches.iter().map(|branch| branch.name.as_str()).collect();
    let claimed = config.guarantee == Guarantee::Claimed;
    check_rule(&rule, &names, claimed).map_err(|(key, problem)| {
        let field = format!("gather.{key}");
        if request.gather.is_some() && key != "need" {
            return error::invalid_field(&field, problem);
        }
        // It depends on what else the submission and the route say.
        let (code, reason) = (Code::FailedPrecondition, reason::TOO_FEW_BRANCHES);
        error::refused_field(code, reason, &field, problem)
    })?;
    let left = now.until(expires_at);
    let deadline = match deadline_of(&rule) {
        None => expires_at,
        Some(deadline) if request.gather.is_none() => now.plus(deadline.min(left)),
        Some(deadline) if (MIN_DEADLINE..=left).contains(&deadline) => now.plus(deadline),
        Some(_) => {
            let rule = "from 1s to the work expiry";
            return Err(error::invalid_field("gather.deadline", rule));
        }
    };
    Ok(Some(Selected { rule, deadline, branches }))
}

fn branches(
    request: &SubmitRequest,
    method: &MethodName,
    fan_out: &FanOut,
) -> Result<Vec<PlannedBranch>, Status> {
    let known = |name: &String| fan_out.branches.iter().any(|branch| branch.name == *name);
    if let Some(index) = request.branches.iter().position(|name| !known(name)) {
        let field = format!("branches[{index}]");
        return Err(error::invalid_field(&field, "the route has no such branch"));
    }
    let wanted = |name: &String| request.branches.is_empty() || request.branches.contains(name);
    let taking = fan_out.branches.iter().filter(|branch| branch.takes(&request.metadata));
    let planned = taking.filter(|branch| wanted(&branch.name)).map(|branch| PlannedBranch {
        name: branch.name.clone(),
        method: branch.method.as_ref().unwrap_or(method).to_string(),
    });
    let planned: Vec<PlannedBranch> = planned.collect();
    if planned.is_empty() {
        let field = if request.branches.is_empty() { "metadata" } else { "branches" };
        let (code, reason) = (Code::FailedPrecondition, reason::NO_BRANCH);
        return Err(error::refused_field(code, reason, field, "no branch of the route takes it"));
    }
    Ok(planned)
}

/// The deadline of a rule, if it has one that is a time.
#[must_use]
pub fn deadline_of(rule: &GatherRule) -> Option<Duration> {
    rule.deadline.as_ref().map(|deadline| duration_from_proto(deadline).unwrap_or_default())
}

/// What is wrong with a rule over these branches: the key, and why.
///
/// # Errors
/// The key of the rule that is wrong, and why.
pub fn check_rule(
    rule: &GatherRule,
    branches: &[&str],
    claimed: bool,
) -> Result<(), (&'static str, String)> {
    let total = u32::try_from(branches.len()).unwrap_or(u32::MAX);
    if need(rule, total) > total {
        return Err(("need", format!("{} of {total} branches", rule.need)));
    }
    if let Some(Answer::Primary(name)) = &rule.answer
        && !branches.contains(&name.as_str())
    {
        return Err(("primary", format!("{name:?} is not among its branches")));
    }
    let codes = &rule.success_codes;
    if codes.iter().any(|code| !(0..=MAX_CODE).contains(code)) {
        return Err(("success_codes", "codes are from 0 to 16".to_owned()));
    }
    // It travels with every message.
    if codes.len() > BTreeSet::from_iter(codes).len() {
        return Err(("success_codes", "each code at most once".to_owned()));
    }
    if rule.cancel_rest && !claimed {
        return Err(("cancel_rest", "at_least_once cannot be cancelled".to_owned()));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{BranchConfig, Destination, MethodPattern};
    use queuebridge_proto::v1::{Metadatum, metadatum};
    use tonic_types::StatusExt;

    const NOW: UnixMillis = UnixMillis(1_000_000);
    const HOUR: Duration = Duration::from_secs(3600);

    fn route(rule: GatherRule) -> RouteConfig {
        let mut gold = BranchConfig::new("gold", Some("q"));
        gold.when.insert("plan".into(), vec!["gold".into(), "platinum".into()]);
        let mut other = BranchConfig::new("other", Some("q"));
        other.method = Some(MethodName::parse("/a.B/Other").unwrap());
        other.when.insert("plan".into(), vec!["gold".into(), "tin".into()]);
        let fan_out = FanOut { rule, branches: vec![gold, other] };
        let all = RouteConfig::new(MethodPattern::All, Destination::Branches);
        RouteConfig { fan_out: Some(fan_out), ..all }
    }

    fn request(plan: &str) -> SubmitRequest {
        let value = Some(metadatum::Value::Ascii(plan.into()));
        SubmitRequest {
            metadata: vec![Metadatum { key: "plan".into(), value }],
            ..SubmitRequest::default()
        }
    }

    fn of(request: &SubmitRequest, config: &RouteConfig) -> Result<Option<Selected>, Status> {
        select(request, &MethodName::parse("/a.B/C").unwrap(), config, NOW.plus(HOUR), NOW)
    }

    fn names(request: &SubmitRequest) -> Vec<String> {
        let selected = of(request, &route(GatherRule { need: 1, ..GatherRule::default() }));
        selected.unwrap().unwrap().branches.into_iter().map(|branch| branch.name).collect()
    }

    fn refused(request: &SubmitRequest, config: &RouteConfig) -> (Code, String, String) {
        let status = of(request, config).unwrap_err();
        let reason = status.get_details_error_info().unwrap().reason;
        let field = status.get_details_bad_request().unwrap().field_violations[0].field.clone();
        (status.code(), reason, field)
    }

    #[test]
    fn metadata_and_the_submission_choose_the_branches() {
        assert_eq!(names(&request("gold")), ["gold", "other"]);
        assert_eq!(names(&request("tin")), ["other"]);
        let only = SubmitRequest { branches: vec!["other".into()], ..request("gold") };
        assert_eq!(names(&only), ["other"]);
        let selected = of(&request("gold"), &route(GatherRule::default())).unwrap().unwrap();
        assert_eq!(selected.branches[0].method, "/a.B/C");
        assert_eq!(selected.branches[1].method, "/a.B/Other");
    }

    #[test]
    fn what_leaves_no_branch_is_refused() {
        let config = route(GatherRule::default());
        let precondition = Code::FailedPrecondition;
        let (none, few) = (reason::NO_BRANCH.to_owned(), reason::TOO_FEW_BRANCHES.to_owned());
        assert_eq!(
            refused(&request("lead"), &config),
            (precondition, none.clone(), "metadata".into())
        );
        let other = SubmitRequest { branches: vec!["gold".into()], ..request("tin") };
        assert_eq!(refused(&other, &config), (precondition, none, "branches".into()));
        let unknown = SubmitRequest { branches: vec!["lead".into()], ..request("gold") };
        assert_eq!(refused(&unknown, &config).2, "branches[0]");
        let both = route(GatherRule { need: 2, ..GatherRule::default() });
        assert_eq!(
            refused(&request("tin"), &both),
            (precondition, few.clone(), "gather.need".into())
        );
        let answer = Some(Answer::Primary("gold".into()));
        let primary = route(GatherRule { answer, ..GatherRule::default() });
        assert_eq!(
            refused(&request("tin"), &primary),
            (precondition, few, "gather.primary".into())
        );
    }

    #[test]
    fn a_submission_may_have_a_rule_of_its_own() {
        let config = route(GatherRule { need: 2, ..GatherRule::default() });
        let with = |gather| SubmitRequest { gather: Some(gather), ..request("gold") };
        let seconds = |seconds| Some(prost_types::Duration { seconds, nanos: 0 });
        let any = GatherRule { need: 1, deadline: seconds(60), ..GatherRule::default() };
        let selected = of(&with(any.clone()), &config).unwrap().unwrap();
        assert_eq!(selected.rule, any);
        assert_eq!(selected.deadline, NOW.plus(Duration::from_secs(60)));
        let plain = GatherRule::default();
        for (field, wrong) in [
            ("gather.need", GatherRule { need: 3, ..plain.clone() }),
            ("gather.deadline", GatherRule { deadline: seconds(0), ..plain.clone() }),
            ("gather.deadline", GatherRule { deadline: seconds(3601), ..plain.clone() }),
            ("gather.deadline", GatherRule { deadline: seconds(-1), ..plain.clone() }),
            ("gather.success_codes", GatherRule { success_codes: vec![17], ..plain.clone() }),
            ("gather.success_codes", GatherRule { success_codes: vec![5, 5], ..plain.clone() }),
            ("gather.primary", GatherRule { answer: Some(Answer::Primary("x".into())), ..plain }),
        ] {
            assert_eq!(refused(&with(wrong), &config).2, field);
        }
        let without = RouteConfig::new(MethodPattern::All, Destination::Queue("q".into()));
        assert_eq!(refused(&with(any), &without).2, "gather");
    }

    #[test]
    fn the_routes_deadline_ends_with_the_work() {
        let deadline = Some(prost_types::Duration { seconds: 7200, nanos: 0 });
        let config = route(GatherRule { deadline, ..GatherRule::default() });
        assert_eq!(of(&request("gold"), &config).unwrap().unwrap().deadline, NOW.plus(HOUR));
    }
}
