//! What a `FileDescriptorSet` says about methods: their kinds, and their messages
//! in JSON.

use crate::json::{Type, Types};
use crate::pool::{DescriptorError, Pool, pool};
use buffa_descriptor::MethodDescriptor as Described;
use buffa_descriptor::generated::descriptor::method_options::IdempotencyLevel;
use bytes::Bytes;
use connectrpc::{MethodDescriptor, MethodKind};
use std::collections::HashMap;

/// The methods of some services.
#[derive(Default)]
pub struct Descriptors {
    methods: HashMap<String, Method>,
    services: Vec<String>,
    types: Types,
}

impl std::fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptors").field("services", &self.services).finish()
    }
}

struct Method {
    kind: MethodKind,
    without_side_effects: bool,
    input: Type,
    output: Type,
}

impl Descriptors {
    /// Reads serialized `FileDescriptorSet`s. What cannot be used is left out, and the log
    /// says so.
    ///
    /// # Errors
    /// See [`DescriptorError`].
    pub fn parse<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DescriptorError> {
        let pool = pool(sets)?;
        pool.left_out().iter().for_each(|problem| tracing::warn!("descriptors: {problem}"));
        Ok(Self::of([&pool]))
    }

    /// The methods in some pools. Pools may hold different files of one name; of
    /// services of one name the first counts.
    #[must_use]
    pub fn of<'a>(pools: impl IntoIterator<Item = &'a Pool> + Clone) -> Self {
        let (mut methods, mut services) = (HashMap::new(), Vec::new());
        let types = Types::of(pools.clone());
        for pool in pools {
            for service in pool.services() {
                let name = service.full_name().to_owned();
                if !services.contains(&name) {
                    let described = service.methods().iter();
                    methods.extend(
                        described.map(|m| (format!("{name}/{}", m.name()), known(pool, m))),
                    );
                    services.push(name);
                }
            }
        }
        Self { methods, services, types }
    }

    /// The full names of the services.
    #[must_use]
    pub fn services(&self) -> Vec<String> {
        self.services.clone()
    }

    /// The full name of the message that a method, `package.Service/Method`,
    /// answers with.
    #[must_use]
    pub fn response_type(&self, path: &str) -> Option<&str> {
        let of = &self.methods.get(path)?.output;
        Some(of.pool.message(of.index).full_name())
    }

    /// Whether a method, `package.Service/Method`, takes or gives a stream; `None` when
    /// it is not known.
    #[must_use]
    pub fn is_streaming(&self, path: &str) -> Option<bool> {
        Some(self.methods.get(path)?.kind != MethodKind::Unary)
    }

    /// Whether a method, `package.Service/Method`, takes a stream; `None` when it is not
    /// known.
    #[must_use]
    pub fn takes_stream(&self, path: &str) -> Option<bool> {
        let kind = self.methods.get(path)?.kind;
        Some(matches!(kind, MethodKind::ClientStreaming | MethodKind::BidiStreaming))
    }

    /// What is known of a method, `package.Service/Method`.
    pub(crate) fn method(&self, path: &str) -> Option<MethodDescriptor> {
        let method = self.methods.get(path)?;
        Some(MethodDescriptor::from_kind(method.kind).with_idempotent(method.without_side_effects))
    }

    /// A request from JSON to the binary form.
    ///
    /// # Errors
    /// What is wrong with the text; `None` when the method is not known.
    pub fn read_json(&self, path: &str, json: &[u8]) -> Result<Bytes, Option<String>> {
        let method = self.methods.get(path).ok_or(None)?;
        // An empty body stands for a message without fields.
        let json = if json.is_empty() { b"{}" } else { json };
        self.types.read(&method.input, json).map(Bytes::from).map_err(Some)
    }

    /// An answer from the binary form to JSON.
    ///
    /// # Errors
    /// What is wrong with the bytes; `None` when the method is not known.
    pub fn write_json(&self, path: &str, message: Bytes) -> Result<Bytes, Option<String>> {
        let method = self.methods.get(path).ok_or(None)?;
        self.types.write(&method.output, &message).map(Bytes::from).map_err(Some)
    }
}

fn known(pool: &Pool, method: &Described) -> Method {
    let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => MethodKind::Unary,
        (false, true) => MethodKind::ServerStreaming,
        (true, false) => MethodKind::ClientStreaming,
        (true, true) => MethodKind::BidiStreaming,
    };
    let level = method.options().and_then(|options| options.idempotency_level);
    let of = |index| Type { pool: pool.linked().clone(), index };
    Method {
        kind,
        without_side_effects: level == Some(IdempotencyLevel::NO_SIDE_EFFECTS),
        input: of(method.input()),
        output: of(method.output()),
    }
}
