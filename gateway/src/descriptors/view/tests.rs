//! What a caller of one service sees of files that it shares with others.

use super::*;
use prost::Message;
use prost_types::descriptor_proto::ExtensionRange;
use prost_types::field_descriptor_proto::{Label, Type};
use prost_types::source_code_info::Location;
use prost_types::{
    DescriptorProto, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    FileDescriptorProto, FileDescriptorSet, MethodDescriptorProto, ServiceDescriptorProto,
    SourceCodeInfo,
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn field(name: &str, number: i32, of: &str) -> FieldDescriptorProto {
    let kind = match of {
        "" => Type::String,
        of if of.ends_with("Kind") => Type::Enum,
        _ => Type::Message,
    };
    FieldDescriptorProto {
        name: some(name),
        json_name: some(name),
        number: Some(number),
        label: Some(Label::Optional.into()),
        r#type: Some(kind.into()),
        type_name: (!of.is_empty()).then(|| format!(".{of}")),
        ..Default::default()
    }
}

fn extension(name: &str, number: i32, of: &str) -> FieldDescriptorProto {
    FieldDescriptorProto { extendee: some(".c.Shared"), ..field(name, number, of) }
}

fn message(name: &str, fields: &[FieldDescriptorProto]) -> DescriptorProto {
    DescriptorProto { name: some(name), field: fields.to_vec(), ..Default::default() }
}

fn an_enum(name: &str) -> EnumDescriptorProto {
    let value = EnumValueDescriptorProto {
        name: Some(format!("{name}_0")),
        number: Some(0),
        options: None,
    };
    EnumDescriptorProto { name: some(name), value: vec![value], ..Default::default() }
}

fn service(name: &str, input: &str, output: &str) -> ServiceDescriptorProto {
    let call = MethodDescriptorProto {
        name: some("Call"),
        input_type: Some(format!(".{input}")),
        output_type: Some(format!(".{output}")),
        ..Default::default()
    };
    ServiceDescriptorProto { name: some(name), method: vec![call], options: None }
}

fn file(name: &str, imports: &[&str]) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(format!("{name}.proto")),
        package: some(name),
        dependency: imports.iter().map(|name| format!("{name}.proto")).collect(),
        ..Default::default()
    }
}

/// `o.Open` and `o.Secret` share a file, all share `c`, and `x.Secret` is alone in one.
fn set() -> FileDescriptorSet {
    let range = ExtensionRange { start: Some(100), end: Some(200), options: None };
    let shared = DescriptorProto {
        extension_range: vec![range],
        ..message("Shared", &[field("inner", 1, "c.Inner")])
    };
    // Who uses what is within a message uses the message.
    let outer = DescriptorProto {
        enum_type: vec![an_enum("Kind")],
        ..message("Outer", &[field("deep", 1, "c.Deep")])
    };
    let common = FileDescriptorProto {
        message_type: vec![
            shared,
            message("Inner", &[field("kind", 1, "c.Outer.Kind")]),
            outer,
            message("Deep", &[]),
            message("SecretPart", &[]),
        ],
        extension: vec![extension("secret", 100, "c.SecretPart"), extension("note", 101, "")],
        ..file("c", &[])
    };
    let comment = Location { leading_comments: some("of Secret"), ..Default::default() };
    let open = FileDescriptorProto {
        service: vec![
            service("Secret", "c.SecretPart", "o.SecretAnswer"),
            service("Open", "c.Shared", "o.Answer"),
        ],
        message_type: vec![
            message(
                "SecretAnswer",
                &[field("shared", 1, "c.Shared"), field("kind", 2, "o.SecretKind")],
            ),
            message("Answer", &[]),
            message("Detail", &[]),
        ],
        enum_type: vec![an_enum("SecretKind"), an_enum("FreeKind")],
        source_code_info: Some(SourceCodeInfo { location: vec![comment] }),
        ..file("o", &["c"])
    };
    let closed = FileDescriptorProto {
        service: vec![service("Secret", "x.Message", "c.Shared")],
        message_type: vec![message("Message", &[])],
        ..file("x", &["c"])
    };
    FileDescriptorSet { file: vec![common, open, closed] }
}

fn view(reaches: impl Fn(&str) -> bool) -> View {
    let pool = queuebridge_web::pool([&set().encode_to_vec()[..]]).unwrap();
    View::new(Arc::new(Snapshot::new(Pool::default(), vec![pool], None)), reaches)
}

#[test]
fn of_a_hidden_service_neither_name_nor_messages_nor_files_are_shown() {
    let view = view(|service| service == "o.Open");
    assert_eq!(view.services().collect::<Vec<_>>(), ["o.Open"]);
    for shown in [
        "o.Open",
        "o.Open.Call",
        "o.Answer",
        "o.Detail",
        "o.FreeKind",
        "c.Shared",
        "c.Shared.inner",
        "c.Inner",
        "c.Outer",
        "c.Outer.Kind",
        "c.Deep",
        "c.note",
    ] {
        assert!(view.declaring(shown).is_some(), "{shown}");
    }
    for hidden in [
        "o.Secret",
        "o.Secret.Call",
        "o.SecretAnswer",
        "o.SecretAnswer.shared",
        "o.SecretKind",
        "c.SecretPart",
        "c.secret",
        "x.Secret",
        "x.Secret.Call",
        "x.Message",
        "none.Nothing",
    ] {
        assert!(view.declaring(hidden).is_none(), "{hidden}");
        assert!(view.extension_numbers(hidden).is_none(), "{hidden}");
    }
    assert_eq!(view.extension_numbers("c.Shared").unwrap(), BTreeSet::from([101]));
    assert!(view.extension("c.Shared", 100).is_none());
    assert!(view.extension("c.Shared", 101).is_some());
    for hidden in ["x.proto", "none.proto"] {
        assert!(view.file(hidden, 0).is_none() && view.file(hidden, 1).is_none(), "{hidden}");
    }
}

#[test]
fn what_is_shown_of_files_belongs_together_and_says_nothing_of_the_rest() {
    let view = view(|service| service == "o.Open");
    let files: Vec<_> = ["c.proto", "o.proto"].map(|name| view.file(name, 1).unwrap()).into();
    for file in &files {
        assert!(!String::from_utf8_lossy(file).to_lowercase().contains("secret"));
    }
    let file = files.iter().map(|file| FileDescriptorProto::decode(&file[..]).unwrap()).collect();
    let read = queuebridge_web::pool([&FileDescriptorSet { file }.encode_to_vec()[..]]).unwrap();
    let service = read.linked().service_by_name("o.Open").unwrap();
    let input = service.methods()[0].input();
    assert_eq!(read.linked().message(input).full_name(), "c.Shared");
}

#[test]
fn who_reaches_everything_is_shown_the_files_as_they_are() {
    let (view, set) = (view(|_| true), set());
    for file in set.file {
        let shown = FileDescriptorProto::decode(&view.file(file.name(), 1).unwrap()[..]).unwrap();
        assert_eq!(shown, file);
    }
    assert_eq!(view.services().count(), 3);
    assert_eq!(view.extension_numbers("c.Shared").unwrap().len(), 2);
}

#[test]
fn without_a_service_that_is_reached_no_file_is_shown() {
    let view = view(|_| false);
    assert_eq!(view.services().count(), 0);
    assert!(view.file("c.proto", 1).is_none());
    assert!(view.declaring("c.Shared").is_none());
}
