//! What a `FileDescriptorSet` says about methods: their kinds, and their messages
//! in JSON.

use bytes::Bytes;
use connectrpc::{MethodDescriptor, MethodKind};
use prost_reflect::prost::Message;
use prost_reflect::prost_types::method_options::IdempotencyLevel;
use prost_reflect::{DescriptorPool, DynamicMessage, MessageDescriptor};
use std::collections::HashMap;

/// The bytes are no `FileDescriptorSet`, or one with unresolved names.
#[derive(Debug, thiserror::Error)]
#[error("the descriptors cannot be read: {0}")]
pub struct DescriptorError(String);

/// The methods of some services.
#[derive(Default)]
pub struct Descriptors {
    methods: HashMap<String, Method>,
    services: Vec<String>,
}

impl std::fmt::Debug for Descriptors {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Descriptors").field("services", &self.services).finish()
    }
}

struct Method {
    kind: MethodKind,
    without_side_effects: bool,
    input: MessageDescriptor,
    output: MessageDescriptor,
}

impl Descriptors {
    /// Reads serialized `FileDescriptorSet`s.
    ///
    /// # Errors
    /// See [`DescriptorError`].
    pub fn parse<'a>(sets: impl IntoIterator<Item = &'a [u8]>) -> Result<Self, DescriptorError> {
        Ok(Self::of([&pool(sets)?]))
    }

    /// The methods in some pools. Pools may hold different files of one name; of
    /// services of one name the first counts.
    #[must_use]
    pub fn of<'a>(pools: impl IntoIterator<Item = &'a DescriptorPool>) -> Self {
        let (mut methods, mut services) = (HashMap::new(), Vec::new());
        for service in pools.into_iter().flat_map(DescriptorPool::services) {
            let name = service.full_name().to_owned();
            if !services.contains(&name) {
                methods
                    .extend(service.methods().map(|m| (format!("{name}/{}", m.name()), known(&m))));
                services.push(name);
            }
        }
        Self { methods, services }
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
        Some(self.methods.get(path)?.output.full_name())
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
    pub(crate) fn read_json(&self, path: &str, json: &[u8]) -> Result<Bytes, Option<String>> {
        let method = self.methods.get(path).ok_or(None)?;
        // An empty body stands for a message without fields.
        let json = if json.is_empty() { b"{}" } else { json };
        let mut reader = serde_json::Deserializer::from_slice(json);
        let options = prost_reflect::DeserializeOptions::new().deny_unknown_fields(false);
        let read =
            DynamicMessage::deserialize_with_options(method.input.clone(), &mut reader, &options);
        let message = read.and_then(|message| reader.end().map(|()| message));
        Ok(message.map_err(|error| Some(error.to_string()))?.encode_to_vec().into())
    }

    /// An answer from the binary form to JSON.
    ///
    /// # Errors
    /// What is wrong with the bytes; `None` when the method is not known.
    pub(crate) fn write_json(&self, path: &str, message: Bytes) -> Result<Bytes, Option<String>> {
        let method = self.methods.get(path).ok_or(None)?;
        let message = DynamicMessage::decode(method.output.clone(), message);
        let message = message.map_err(|error| Some(error.to_string()))?;
        let json = serde_json::to_vec(&message).map_err(|error| Some(error.to_string()))?;
        Ok(json.into())
    }
}

/// Reads serialized `FileDescriptorSet`s that belong together.
///
/// # Errors
/// See [`DescriptorError`].
pub fn pool<'a>(
    sets: impl IntoIterator<Item = &'a [u8]>,
) -> Result<DescriptorPool, DescriptorError> {
    let mut pool = DescriptorPool::new();
    for set in sets {
        pool.decode_file_descriptor_set(set).map_err(|e| DescriptorError(e.to_string()))?;
    }
    Ok(pool)
}

fn known(method: &prost_reflect::MethodDescriptor) -> Method {
    let options = method.method_descriptor_proto().options.clone().unwrap_or_default();
    let kind = match (method.is_client_streaming(), method.is_server_streaming()) {
        (false, false) => MethodKind::Unary,
        (false, true) => MethodKind::ServerStreaming,
        (true, false) => MethodKind::ClientStreaming,
        (true, true) => MethodKind::BidiStreaming,
    };
    let without_side_effects = options.idempotency_level() == IdempotencyLevel::NoSideEffects;
    Method { kind, without_side_effects, input: method.input(), output: method.output() }
}
