//! Methods that go to several branches, each with a queue and a worker in this process.

use crate::endpoint::{Endpoint, EndpointError, RECEIVE_WAIT};
use crate::loopback::{
    Condition, ConfigError, FilterPolicy, Loopback, LoopbackTopic, QueueConfig, Redrive,
    Subscription, TopicConfig,
};
use crate::outbox::LoopbackOutbox;
use crate::source::LoopbackSource;
use queuebridge_gateway::config::{Destination, FanOut, MethodPattern};
use queuebridge_gateway::publish::Publisher;
use queuebridge_gateway::publish::sns::SnsPublisher;
use queuebridge_gateway::publish::sqs::SqsPublisher;
use queuebridge_proto::envelope::attribute;
use queuebridge_store::Clock;
use queuebridge_worker::host::outbox::SqsOutbox;
use queuebridge_worker::host::sqs::SqsSource;
use queuebridge_worker::{Branch, Outbox, Role};
use std::sync::Arc;

/// Methods that go to several branches.
#[derive(Clone, Debug)]
pub struct Branches {
    /// Which methods.
    pub methods: MethodPattern,
    /// How the messages reach them.
    pub over: Over,
    /// The branches and their rule; their queues are made here.
    pub fan_out: FanOut,
    /// The names of branches that nobody works for: their messages wait.
    pub without: Vec<String>,
}

/// How messages reach the branches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Over {
    /// A topic copies one message to the queues whose branches it names.
    Topic,
    /// The gateway sends a message to each queue.
    Queues,
}

/// A queue with what works on it.
pub(crate) struct Lane<S> {
    pub(crate) source: S,
    pub(crate) role: Role,
    pub(crate) branch: Branch,
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) concurrency: usize,
}

/// Where a route's messages go, and what works on them there.
pub(crate) struct Made<S> {
    pub(crate) destination: Destination,
    pub(crate) publishers: Vec<Arc<dyn Publisher>>,
    pub(crate) lanes: Vec<Lane<S>>,
}

impl Branches {
    fn names(&self) -> impl Iterator<Item = &str> {
        self.fan_out.branches.iter().map(|branch| branch.name.as_str())
    }

    fn works(&self, name: &str) -> bool {
        !self.without.iter().any(|without| without == name)
    }

    /// How much of what may run at once is a lane's. What polls costs requests.
    fn share(&self, role: Role, concurrency: usize) -> usize {
        match role {
            Role::Jobs => (concurrency / self.fan_out.branches.len().max(1)).max(10),
            Role::DeadLetters | Role::Callbacks => 1,
        }
    }

    fn destination(&self) -> Destination {
        match self.over {
            Over::Topic => Destination::Topic("loopback:branches".to_owned()),
            Over::Queues => Destination::Branches,
        }
    }

    /// Queues, and a topic if there is to be one, in this process. `queue` has the
    /// settings of every queue, but for its name.
    pub(crate) fn in_memory(
        &self,
        queue: impl Fn(&str) -> QueueConfig,
        outbox: impl Fn(&Arc<Loopback>) -> LoopbackOutbox,
        max_receive_count: u32,
        concurrency: usize,
        clock: Clock,
    ) -> Result<Made<LoopbackSource>, ConfigError> {
        let topic = LoopbackTopic::new(TopicConfig::standard("branches", clock));
        let (mut queues, mut lanes) = (Vec::<Arc<dyn Publisher>>::new(), Vec::new());
        for name in self.names() {
            let dead = Loopback::new(queue(&format!("branch-{name}-dead")))?;
            let redrive = Some(Redrive { max_receive_count, dead_letter: dead.clone() });
            let jobs = queue(&format!("branch-{name}"));
            let jobs = Loopback::new(QueueConfig { redrive, ..jobs })?;
            let filter = vec![Condition::Exactly(name.to_owned())];
            let filter = FilterPolicy::new(vec![(attribute::BRANCHES.to_owned(), filter)]).ok();
            // Both are standard.
            let dead_letter = Some(dead.clone());
            let _ = topic.subscribe(Subscription { queue: jobs.clone(), filter, dead_letter });
            queues.push(jobs.clone());
            let works = self.works(name);
            for (queue, role) in [(jobs, Role::Jobs), (dead, Role::DeadLetters)] {
                if works || role == Role::DeadLetters {
                    let outbox = Arc::new(outbox(&queue));
                    let branch = Branch::Named(name.into());
                    let source = LoopbackSource(queue);
                    let concurrency = self.share(role, concurrency);
                    lanes.push(Lane { source, role, branch, outbox, concurrency });
                }
            }
        }
        let publishers = match self.over {
            Over::Topic => vec![topic as Arc<dyn Publisher>],
            Over::Queues => queues,
        };
        Ok(Made { destination: self.destination(), publishers, lanes })
    }

    /// The same at an AWS endpoint.
    pub(crate) async fn at_endpoint(
        &self,
        endpoint: &Endpoint,
        outbox: &Arc<SqsOutbox>,
        concurrency: usize,
    ) -> Result<Made<SqsSource>, EndpointError> {
        let (mut queues, mut lanes) = (Vec::new(), Vec::new());
        let mut urls = Vec::new();
        for name in self.names() {
            let made = endpoint.branch(name).await?;
            let publisher = SqsPublisher::new(endpoint.sqs.clone(), made.url.clone());
            queues.push(Arc::new(publisher) as Arc<dyn Publisher>);
            for (url, role) in [(&made.url, Role::Jobs), (&made.dead_letter_url, Role::DeadLetters)]
            {
                if self.works(name) || role == Role::DeadLetters {
                    let branch = Branch::Named(name.into());
                    let source = SqsSource::new(endpoint.sqs.clone(), url.clone(), RECEIVE_WAIT);
                    let (outbox, concurrency) = (outbox.clone(), self.share(role, concurrency));
                    lanes.push(Lane { source, role, branch, outbox, concurrency });
                }
            }
            urls.push((name.to_owned(), made));
        }
        let (destination, publishers) = match self.over {
            Over::Queues => (Destination::Branches, queues),
            Over::Topic => {
                let arn = endpoint.topic(&urls).await?;
                let topic = SnsPublisher::new(endpoint.sns.clone(), arn.clone());
                (Destination::Topic(arn), vec![Arc::new(topic) as Arc<dyn Publisher>])
            }
        };
        Ok(Made { destination, publishers, lanes })
    }
}
