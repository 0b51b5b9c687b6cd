//! What a gateway answers, whatever host it runs on: its own services, the routed
//! methods behind them, and every protocol in front.

use crate::arriving::Arriving;
use crate::descriptors::{DescriptorRegistry, Routed};
use crate::front::{Cors, Front, Protocols};
use crate::health::GatewayStatuses;
use crate::jobs::JobsService;
use crate::leaving::Leaving;
use crate::native::{HEALTH_BYTES, Native};
use crate::reflection;
use crate::route::Routes;
use crate::server::Settings;
use crate::typed::Typed;
use crate::upstream::health::UpstreamHealth;
use http::{Request, Response};
use queuebridge_proto::longrunning::operations_server::OperationsServer;
use queuebridge_proto::v1::executions_server::ExecutionsServer;
use queuebridge_proto::v1::jobs_server::JobsServer;
use queuebridge_web::{DescriptorError, Limits, Pages, Services, health};
use std::sync::Arc;
use tokio::sync::watch;
use tonic::Status;
use tonic::body::Body;

/// What the gateway serves by itself.
const OWN_DESCRIPTORS: [&[u8]; 5] = [
    queuebridge_proto::FILE_DESCRIPTOR_SET,
    queuebridge_proto::HEALTH_FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1::FILE_DESCRIPTOR_SET,
    tonic_reflection::pb::v1alpha::FILE_DESCRIPTOR_SET,
    // Details of errors, which tools show by what reflection says of them.
    queuebridge_proto::KNOWN_TYPES,
];

/// Services that speak native gRPC, and what stands in front of them.
pub(crate) struct Stack {
    services: Native,
    protocols: Arc<Protocols>,
    /// What health checks are told.
    serving: watch::Sender<bool>,
}

impl Stack {
    /// Puts it together, and opens the registry with what the gateway knows by itself.
    ///
    /// # Errors
    /// When the contract's descriptors are broken, which is a mistake in the build.
    pub(crate) fn new(
        settings: &Settings,
        routes: &Routes,
        service: JobsService,
    ) -> Result<Self, DescriptorError> {
        let most = settings.max_message_bytes;
        let typed = Typed::new(service.clone(), most);
        let jobs = JobsServer::new(service.clone())
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let operations = OperationsServer::new(service.clone())
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let executions = ExecutionsServer::new(service)
            .max_decoding_message_size(most)
            .max_encoding_message_size(most);
        let arriving = Arriving::new(most, settings.auth.is_open());
        let leaving = Leaving::new(most, settings.auth.is_open());
        let registry: Arc<DescriptorRegistry> = settings.descriptors.clone();
        let known = routes.clone();
        let routed: Routed = Arc::new(move |method| known.find(method).is_some());
        registry.open(&OWN_DESCRIPTORS, routed)?;
        let (serving, server) = watch::channel(true);
        let health_service = health::service(GatewayStatuses {
            serving: server,
            routes: routes.clone(),
            descriptors: registry.clone(),
            upstreams: UpstreamHealth::default(),
        });
        // It is answered to everybody.
        let health_service = health_service.max_decoding_message_size(HEALTH_BYTES);
        let (reflection, reflection_alpha) = reflection::services(&registry);
        let own = tonic::service::Routes::new(jobs)
            .add_service(operations)
            .add_service(executions)
            .add_service(health_service)
            .add_service(reflection)
            .add_service(reflection_alpha);
        let services =
            Native::new(own, typed, routes.clone(), settings, arriving.clone(), leaving.clone());
        let protocols = Arc::new(Protocols {
            auth: Some(settings.auth.clone()),
            quotas: settings.quotas.clone(),
            arriving,
            leaving,
            descriptors: registry,
            pages: settings
                .auth
                .is_open()
                .then(|| Pages::new(&settings.hosts, &settings.cors_origins)),
            cors: Cors::new(&settings.cors_origins),
            // In JSON bytes take a third more; the services count the message itself.
            max_request_bytes: most.saturating_mul(2),
        });
        Ok(Self { services, protocols, serving })
    }

    /// All of it as one service, for a host with HTTP/2.
    pub(crate) fn front(&self) -> Front<Native> {
        Front::new(self.services.clone(), self.protocols.clone())
    }

    /// Answers a request for a host without HTTP/2, within limits. `around` is put between
    /// the protocols and the services.
    pub(crate) async fn answer<S: Services>(
        &self,
        request: Request<Body>,
        limits: Limits,
        around: impl FnOnce(Native) -> S,
    ) -> Response<Body> {
        self.protocols.answer(around(self.services.clone()), request, limits).await
    }

    /// Answers a request with a status, in its protocol.
    pub(crate) async fn refuse(&self, request: Request<()>, status: Status) -> Response<Body> {
        self.protocols.refuse(self.services.clone(), request, status).await
    }

    /// Tells health checks that new callers are to go elsewhere.
    pub(crate) fn not_serving(&self) {
        self.serving.send_replace(false);
    }
}
