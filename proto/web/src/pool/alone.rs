//! Messages and enums that the library refuses, found one by one, so that each costs what
//! needs it and not its file.

use super::check::scoped;
use super::names::Changed;
use super::{Draft, linked};
use buffa_descriptor::generated::descriptor::field_descriptor_proto::Type;
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, FieldDescriptorProto, FileDescriptorProto,
};

impl Draft {
    /// Leaves out messages and enums that cannot be linked even alone; says whether there
    /// were any.
    pub(super) fn prune_refused(&mut self) -> bool {
        let mut left_out = Vec::new();
        let mut found = false;
        for single in &mut self.files {
            let file = &mut single.file;
            let scope = file.package.clone().unwrap_or_default();
            // The language and its features, and nothing that is declared.
            let empty = FileDescriptorProto {
                name: file.name.clone(),
                package: file.package.clone(),
                syntax: file.syntax.clone(),
                edition: file.edition,
                options: file.options.clone(),
                ..Default::default()
            };
            let link = |file: FileDescriptorProto| linked([&file].into_iter()).map(drop);
            let mut changed = Changed::default();
            changed.retain("message", &scope, &mut file.message_type, &mut left_out, |message| {
                let name = scoped(&scope, message.name.as_deref().unwrap_or_default());
                let mut message = message.clone();
                cut(&mut message, &format!(".{name}"));
                link(FileDescriptorProto { message_type: vec![message], ..empty.clone() })
            });
            changed.retain("enum", &scope, &mut file.enum_type, &mut left_out, |of| {
                link(FileDescriptorProto { enum_type: vec![of.clone()], ..empty.clone() })
            });
            found |= changed.apply(single);
        }
        self.left_out.append(&mut left_out);
        found
    }
}

/// Makes a number of each field whose type is declared elsewhere.
fn cut(message: &mut DescriptorProto, outermost: &str) {
    message.extension.clear();
    for field in &mut message.field {
        let is_inner = field.type_name.as_deref().is_none_or(|name| {
            let rest = name.strip_prefix(outermost);
            rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('.'))
        });
        if !is_inner {
            *field = FieldDescriptorProto {
                r#type: Some(Type::TYPE_INT32),
                type_name: None,
                default_value: None,
                options: Default::default(),
                ..field.clone()
            };
        }
    }
    message.nested_type.iter_mut().for_each(|inner| cut(inner, outermost));
}
