//! What callers may do: verbs on the jobs of methods, granted to roles.

use super::refusal;
use crate::config::MethodPattern;
use queuebridge_proto::JobId;
use queuebridge_proto::method::{service_tag, tag};
use std::sync::Arc;
use tonic::Status;

/// What is done with jobs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Verb {
    /// Submitting jobs and calling methods directly, with the answer to that very call.
    Submit,
    /// `GetResult`, `DownloadResult`, `ReadStream`, `ListBranches`, and the same of
    /// operations.
    Read,
    /// `WatchResult` and `WaitExecution`.
    Watch,
    /// `Cancel` and `CancelOperation`.
    Cancel,
    /// `Delete` and `DeleteOperation`.
    Admin,
}

impl Verb {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Submit, Self::Read, Self::Watch, Self::Cancel, Self::Admin];

    /// The name in the configuration.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Submit => "submit",
            Self::Read => "read",
            Self::Watch => "watch",
            Self::Cancel => "cancel",
            Self::Admin => "admin",
        }
    }
}

/// Verbs on methods for those who have one of some roles.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Grant {
    /// Who: callers with one of these roles. None: every authenticated caller.
    pub roles: Vec<String>,
    /// On the jobs of which methods.
    pub methods: Vec<MethodPattern>,
    /// What.
    pub verbs: Vec<Verb>,
}

/// What one caller may do. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Rights(Option<Arc<[Grant]>>);

impl Rights {
    /// Everything.
    #[must_use]
    pub fn all() -> Self {
        Self(None)
    }

    /// What `grants` give to someone with these roles. Where nothing is granted to anybody,
    /// everybody may do everything with the jobs of the own tenant.
    #[must_use]
    pub fn of(roles: &[String], grants: &[Grant]) -> Self {
        if grants.is_empty() {
            return Self::all();
        }
        let has = |grant: &&Grant| {
            grant.roles.is_empty() || grant.roles.iter().any(|r| roles.contains(r))
        };
        Self(Some(grants.iter().filter(has).cloned().collect()))
    }

    /// Whether the verb is granted on a method.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`/`NOT_GRANTED`.
    pub fn check(&self, verb: Verb, method: &str) -> Result<(), Status> {
        self.any(verb, |pattern| pattern.matches(method))
    }

    /// Whether any verb is granted on any method of a service, `package.Service`.
    #[must_use]
    pub fn reach(&self, service: &str) -> bool {
        let Some(grants) = &self.0 else { return true };
        let with_verbs = grants.iter().filter(|grant| !grant.verbs.is_empty());
        with_verbs.flat_map(|grant| &grant.methods).any(|pattern| pattern.is_of(service))
    }

    /// Whether the verb is granted on a job. Its id has only a tag of its method, which
    /// says the service and the method to one in 65,536 each: enough, because this
    /// gateway's deployment has signed the id for a method that it has a route for.
    ///
    /// # Errors
    /// `PERMISSION_DENIED`/`NOT_GRANTED`.
    pub fn check_job(&self, verb: Verb, job: &JobId) -> Result<(), Status> {
        let of_job = job.method_tag();
        self.any(verb, |pattern| match pattern {
            MethodPattern::All => true,
            MethodPattern::Service(service) => of_job[..2] == service_tag(service),
            MethodPattern::Exact(method) => of_job == tag(method),
        })
    }

    fn any(&self, verb: Verb, takes: impl Fn(&MethodPattern) -> bool) -> Result<(), Status> {
        let Some(grants) = &self.0 else { return Ok(()) };
        let granted =
            |grant: &Grant| grant.verbs.contains(&verb) && grant.methods.iter().any(&takes);
        if grants.iter().any(granted) { Ok(()) } else { Err(refusal::not_granted(verb)) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use queuebridge_proto::job_id::Claims;
    use queuebridge_proto::{Keyring, UnixMillis};
    use std::time::Duration;
    use tonic::Code;

    fn job(method: &str) -> JobId {
        let claims = Claims {
            uuid: uuid::Uuid::now_v7(),
            tenant: "t",
            method,
            expires_at: UnixMillis(1),
            retention: Duration::ZERO,
            at_least_once: false,
            reply_shard: None,
        };
        JobId::mint(&claims, &Keyring::single(&[1; 32]))
    }

    fn grant(roles: &[&str], methods: &[&str], verbs: &[Verb]) -> Grant {
        Grant {
            roles: roles.iter().map(ToString::to_string).collect(),
            methods: methods.iter().map(|text| text.parse().unwrap()).collect(),
            verbs: verbs.to_vec(),
        }
    }

    #[test]
    fn a_verb_is_granted_by_role_and_method() {
        let grants = [
            grant(&["clerk"], &["/a.B/*"], &[Verb::Submit, Verb::Read]),
            grant(&["auditor"], &["*"], &[Verb::Read]),
            grant(&[], &["/a.C/D"], &[Verb::Watch]),
        ];
        let rights = |role: &str| Rights::of(&[role.to_owned()], &grants);
        let clerk = rights("clerk");
        assert!(clerk.check(Verb::Submit, "/a.B/X").is_ok());
        assert!(clerk.check_job(Verb::Read, &job("/a.B/X")).is_ok());
        assert!(clerk.check_job(Verb::Watch, &job("/a.C/D")).is_ok());
        for (verb, method) in [
            (Verb::Submit, "/a.C/D"),
            (Verb::Submit, "/a.BB/X"),
            (Verb::Cancel, "/a.B/X"),
            (Verb::Admin, "/a.B/X"),
            (Verb::Watch, "/a.C/E"),
        ] {
            assert_eq!(clerk.check(verb, method).unwrap_err().code(), Code::PermissionDenied);
            assert!(clerk.check_job(verb, &job(method)).is_err(), "{verb:?} {method}");
        }
        assert!(rights("auditor").check_job(Verb::Read, &job("/x.Y/Z")).is_ok());
        assert!(rights("auditor").check(Verb::Submit, "/x.Y/Z").is_err());
        assert!(rights("nobody").check(Verb::Read, "/a.B/X").is_err());
    }

    #[test]
    fn a_service_is_reached_by_any_verb_on_any_of_its_methods() {
        let grants = [
            grant(&["clerk"], &["/a.B/*", "/a.C/D"], &[Verb::Cancel]),
            grant(&["auditor"], &["*"], &[Verb::Read]),
            grant(&["none"], &["*"], &[]),
        ];
        let reached = |role: &str| {
            let rights = Rights::of(&[role.to_owned()], &grants);
            ["a.B", "a.C", "a.BB", "a", "a.B/D", "", "x.a.B"].map(|service| rights.reach(service))
        };
        assert_eq!(reached("clerk"), [true, true, false, false, false, false, false]);
        assert_eq!(reached("auditor"), [true; 7]);
        assert_eq!(reached("none"), [false; 7]);
        assert_eq!(reached("nobody"), [false; 7]);
    }

    #[test]
    fn without_grants_everything_is_granted() {
        let rights = Rights::of(&[], &[]);
        assert!(rights.reach("a.B"));
        for verb in Verb::ALL {
            assert!(rights.check(verb, "/a.B/C").is_ok());
        }
    }
}
