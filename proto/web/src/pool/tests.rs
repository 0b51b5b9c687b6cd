//! Descriptors that nothing promises to be right.

use super::*;
use crate::Descriptors;
use buffa_descriptor::generated::descriptor::descriptor_proto::ExtensionRange;
use buffa_descriptor::generated::descriptor::field_descriptor_proto::{Label, Type};
use buffa_descriptor::generated::descriptor::{
    DescriptorProto, Edition, EnumDescriptorProto, EnumValueDescriptorProto, FieldDescriptorProto,
    MessageOptions, MethodDescriptorProto, ServiceDescriptorProto,
};

fn some(text: &str) -> Option<String> {
    Some(text.to_owned())
}

fn field(name: &str, number: i32, of: &str) -> FieldDescriptorProto {
    FieldDescriptorProto {
        name: some(name),
        number: Some(number),
        label: Some(Label::LABEL_OPTIONAL),
        r#type: Some(if of.is_empty() { Type::TYPE_INT32 } else { Type::TYPE_MESSAGE }),
        type_name: (!of.is_empty()).then(|| of.to_owned()),
        ..Default::default()
    }
}

fn message(name: &str, field: Vec<FieldDescriptorProto>) -> DescriptorProto {
    DescriptorProto { name: some(name), field, ..Default::default() }
}

fn service(name: &str, of: &str) -> ServiceDescriptorProto {
    let call = MethodDescriptorProto {
        name: some("Call"),
        input_type: some(of),
        output_type: some(of),
        ..Default::default()
    };
    ServiceDescriptorProto { name: some(name), method: vec![call], ..Default::default() }
}

/// A file with the service `PACKAGE.Service` over `PACKAGE.Message`.
fn file(package: &str) -> FileDescriptorProto {
    FileDescriptorProto {
        name: Some(format!("{package}.proto")),
        package: some(package),
        syntax: some("proto3"),
        message_type: vec![message("Message", vec![field("number", 1, "")])],
        service: vec![service("Service", &format!(".{package}.Message"))],
        ..Default::default()
    }
}

fn read(files: Vec<FileDescriptorProto>) -> Pool {
    let set = FileDescriptorSet { file: files, ..Default::default() };
    pool([&set.encode_to_vec()[..]]).unwrap()
}

fn services(pool: &Pool) -> Vec<&str> {
    pool.services().iter().map(ServiceDescriptor::full_name).collect()
}

fn left_out(pool: &Pool) -> String {
    pool.left_out().iter().map(|one| format!("{one}\n")).collect()
}

#[test]
fn languages_that_are_read_and_others() {
    let of = |syntax: Option<&str>, edition| FileDescriptorProto {
        syntax: syntax.map(str::to_owned),
        edition,
        ..file("a")
    };
    for good in [
        of(None, None),
        of(Some(""), None),
        of(Some("proto2"), None),
        of(Some("proto3"), None),
        of(Some("editions"), Some(Edition::EDITION_2023)),
        of(Some("editions"), Some(Edition::EDITION_2024)),
    ] {
        let pool = read(vec![good, file("b")]);
        assert_eq!(
            (services(&pool), left_out(&pool)),
            (vec!["a.Service", "b.Service"], String::new())
        );
    }
    for (wrong, why) in [
        (of(Some("proto4"), None), "its syntax is \"proto4\""),
        (of(Some("editions"), None), "of which edition"),
        (of(Some("editions"), Some(Edition::EDITION_99999_TEST_ONLY)), "99999"),
    ] {
        let importing = FileDescriptorProto {
            dependency: vec!["a.proto".to_owned()],
            message_type: vec![message("Message", vec![field("a", 1, ".a.Message")])],
            ..file("c")
        };
        let pool = read(vec![importing, wrong, file("b")]);
        assert_eq!(services(&pool), ["b.Service"]);
        let told = left_out(&pool);
        assert!(told.contains(why) && told.contains("file a.proto"), "{told}");
        assert!(told.contains("service c.Service is left out"), "{told}");
    }
    let nothing =
        FileDescriptorProto { name: some("a"), syntax: some("editions"), ..Default::default() };
    assert_eq!(services(&read(vec![nothing])), Vec::<&str>::new());
}

#[test]
fn a_missing_import_costs_what_needs_it() {
    let mut partly = file("a");
    partly.dependency = ["gone.proto", "google/protobuf/any.proto"].map(str::to_owned).into();
    partly.message_type.push(message("Broken", vec![field("gone", 1, ".gone.Message")]));
    partly.message_type.push(message("Uses", vec![field("broken", 1, "Broken")]));
    partly.message_type.push(message("Known", vec![field("any", 1, ".google.protobuf.Any")]));
    partly.service.push(service("Other", ".a.Uses"));
    partly.service.push(service("Third", ".a.Known"));
    let pool = read(vec![partly, file("b")]);
    assert_eq!(services(&pool), ["a.Service", "a.Third", "b.Service"]);
    let told = left_out(&pool);
    for part in ["service a.Other", "message a.Broken", "message a.Uses", ".gone.Message"] {
        assert!(told.contains(part), "{told}");
    }
    // Those who read the file after us find all that it needs.
    let shown = FileDescriptorProto::decode_from_slice(&pool.file("a.proto").unwrap()).unwrap();
    assert_eq!(shown.dependency, ["google/protobuf/any.proto"]);
    assert_eq!(shown.service.len(), 2);
    assert!(pool.file("google/protobuf/any.proto").is_some());
}

#[test]
fn malformed_declarations_cost_what_needs_them() {
    let entry = |fields| DescriptorProto {
        options: MessageOptions { map_entry: Some(true), ..Default::default() }.into(),
        ..message("Entry", fields)
    };
    let repeated = FieldDescriptorProto {
        label: Some(Label::LABEL_REPEATED),
        ..field("map", 1, ".a.Broken.Entry")
    };
    let with_map = |fields| DescriptorProto {
        nested_type: vec![entry(fields)],
        ..message("Broken", vec![repeated.clone()])
    };
    let oneof = FieldDescriptorProto { oneof_index: Some(3), ..field("x", 1, "") };
    let negative = FieldDescriptorProto { oneof_index: Some(-1), ..field("x", 1, "") };
    let empty = DescriptorProto {
        enum_type: vec![EnumDescriptorProto { name: some("Empty"), ..Default::default() }],
        ..message("Broken", vec![])
    };
    let untyped = FieldDescriptorProto { r#type: None, ..field("x", 1, "") };
    for broken in [
        with_map(vec![]),
        with_map(vec![field("key", 1, "")]),
        with_map(vec![field("value", 2, "")]),
        with_map(vec![field("value", 2, ""), field("value", 2, "")]),
        message("Broken", vec![oneof]),
        message("Broken", vec![negative]),
        empty,
        message("Broken", vec![untyped]),
        message("Broken", vec![field("", 1, "")]),
        message("Broken", vec![FieldDescriptorProto { number: None, ..field("x", 1, "") }]),
        message("Broken", vec![field("x", 1, "no.Such")]),
        message("Broken", vec![field("x", 1, "")]).nested("with.dot"),
    ] {
        let mut file_a = file("a");
        file_a.message_type.push(broken.clone());
        file_a.service.push(service("Other", ".a.Broken"));
        let pool = read(vec![file_a, file("b")]);
        assert_eq!(services(&pool), ["a.Service", "b.Service"], "{broken:?}");
        assert!(left_out(&pool).contains("service a.Other"), "{}", left_out(&pool));
    }
    // What only the library finds as well.
    for number in [0, -1, 19_500, i32::MAX] {
        let mut file_a = file("a");
        let broken = message("Broken", vec![field("x", number, ""), field("y", 1, ".a.Message")]);
        file_a.message_type.push(broken);
        file_a.service.push(service("Other", ".a.Broken"));
        let pool = read(vec![file("b"), file_a, file("c")]);
        assert_eq!(services(&pool), ["b.Service", "a.Service", "c.Service"], "{number}");
        let told = left_out(&pool);
        assert!(told.contains("message a.Broken is left out: "), "{told}");
        assert!(told.contains("service a.Other is left out: "), "{told}");
    }
}

#[test]
fn what_clashes_costs_the_second() {
    let red = || EnumDescriptorProto {
        value: vec![EnumValueDescriptorProto {
            name: some("RED"),
            number: Some(0),
            ..Default::default()
        }],
        ..Default::default()
    };
    let mut file_a = file("a");
    file_a.enum_type = vec![
        EnumDescriptorProto { name: some("One"), ..red() },
        EnumDescriptorProto { name: some("Two"), ..red() },
    ];
    let pool = read(vec![file("b"), file_a, file("c")]);
    assert_eq!(services(&pool), ["b.Service", "a.Service", "c.Service"]);
    assert_eq!(left_out(&pool), "enum a.Two is left out: a.RED is declared twice\n");
    // Two extensions of one number are found by the library, and cost a file.
    let extending = |package: &str| FileDescriptorProto {
        syntax: None,
        extension: vec![FieldDescriptorProto {
            extendee: some(".a.Extended"),
            ..field("extension", 100, "")
        }],
        ..file(package)
    };
    let mut file_a = FileDescriptorProto { syntax: None, ..file("a") };
    file_a.message_type.push(DescriptorProto {
        extension_range: vec![ExtensionRange {
            start: Some(100),
            end: Some(200),
            ..Default::default()
        }],
        ..message("Extended", vec![])
    });
    let pool = read(vec![file_a, extending("b"), extending("c"), file("d")]);
    assert_eq!(services(&pool), ["a.Service", "b.Service", "d.Service"]);
    let told = left_out(&pool);
    assert!(told.contains("service c.Service is left out: "), "{told}");
    assert!(told.contains("file c.proto is left out: "), "{told}");
}

#[test]
fn files_that_import_one_another_are_read() {
    let importing = |package: &str, other: &str| {
        let mut importing = file(package);
        importing.dependency = vec![format!("{other}.proto"), format!("{package}.proto")];
        importing.message_type.push(message("Of", vec![field("x", 1, &format!(".{other}.Of"))]));
        importing.service.push(service("Second", &format!(".{other}.Of")));
        importing
    };
    let pool = read(vec![importing("a", "b"), importing("b", "a")]);
    assert_eq!(pool.services().len(), 4, "{}", left_out(&pool));
}

trait Nested {
    fn nested(self, name: &str) -> Self;
}

impl Nested for DescriptorProto {
    fn nested(mut self, name: &str) -> Self {
        self.nested_type.push(message(name, vec![]));
        self
    }
}

#[test]
fn names_that_come_twice_are_those_of_the_first() {
    let twice = FileDescriptorProto { name: some("other.proto"), ..file("a") };
    let pool = read(vec![file("a"), twice, file("b"), file("b")]);
    assert_eq!(services(&pool), ["a.Service", "b.Service"]);
    assert!(left_out(&pool).contains("a.Message is declared twice"), "{}", left_out(&pool));
}

#[test]
fn types_may_be_named_from_where_they_stand_and_without_their_kind() {
    let mut of = file("a.b");
    let bare = FieldDescriptorProto { r#type: None, ..field("x", 1, "Message") };
    of.message_type.push(message("Outer", vec![bare, field("y", 2, "b.Message")]));
    of.service.push(service("Other", "b.Outer"));
    let pool = read(vec![of]);
    assert_eq!(services(&pool), ["a.b.Service", "a.b.Other"], "{}", left_out(&pool));
}

#[test]
fn a_file_that_cannot_be_read_costs_itself() {
    let set = FileDescriptorSet { file: vec![file("b")], ..Default::default() };
    let mut bytes = set.encode_to_vec();
    bytes.extend_from_slice(&[0x0a, 2, 0x0a, 0x7f]);
    let pool = pool([&bytes[..]]).unwrap();
    assert_eq!(services(&pool), ["b.Service"]);
    assert_eq!(pool.left_out().len(), 1);
}

#[test]
fn everybody_knows_what_comes_with_protobuf() {
    assert_eq!(known_types().left_out(), []);
    for name in ["google.protobuf.Any", "google.protobuf.Empty", "google.rpc.ErrorInfo"] {
        assert!(known_types().linked().message_by_name(name).is_some(), "{name}");
    }
    assert!(known_file("google/rpc/code.proto").is_some());
}

#[test]
fn no_bytes_make_it_panic() {
    let entry = DescriptorProto {
        options: MessageOptions { map_entry: Some(true), ..Default::default() }.into(),
        ..message("MapEntry", vec![field("key", 1, ""), field("value", 2, ".a.Message")])
    };
    let mut file_a = file("a");
    file_a.edition = Some(Edition::EDITION_2023);
    file_a.message_type[0].nested_type.push(entry);
    file_a.message_type[0].field.push(FieldDescriptorProto {
        label: Some(Label::LABEL_REPEATED),
        ..field("map", 2, ".a.Message.MapEntry")
    });
    let color = EnumValueDescriptorProto { name: some("R"), number: Some(0), ..Default::default() };
    file_a.enum_type.push(EnumDescriptorProto {
        name: some("Color"),
        value: vec![color],
        ..Default::default()
    });
    file_a.message_type[0].field.push(FieldDescriptorProto {
        r#type: Some(Type::TYPE_ENUM),
        ..field("color", 3, ".a.Color")
    });
    let whole = FileDescriptorSet { file: vec![file_a, file("b")], ..Default::default() };
    let whole = whole.encode_to_vec();
    let tried = |bytes: &[u8]| {
        let Ok(pool) = pool([bytes]) else { return };
        let known = Descriptors::of([&pool]);
        for service in pool.services() {
            for method in service.methods() {
                let path = format!("{}/{}", service.full_name(), method.name());
                for json in ["{}", r#"{"number":1,"map":{"1":{"color":"R"}},"color":0}"#] {
                    let _ = known.read_json(&path, json.as_bytes());
                }
                let message = [8, 1, 18, 8, 8, 1, 18, 4, 8, 2, 24, 0, 24, 0];
                let _ = known.write_json(&path, Bytes::copy_from_slice(&message));
            }
        }
    };
    for place in 0..whole.len() {
        for byte in [0, 1, 0x0a, 0x12, 0x7f, 0xff] {
            let mut bytes = whole.clone();
            bytes[place] = byte;
            tried(&bytes);
        }
        tried(&whole[..place]);
    }
}
