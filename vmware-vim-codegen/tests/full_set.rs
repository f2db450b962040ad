//! The whole API: counts, samples, and every field compared with a second, much simpler reader of the same files.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    reason = "clippy spares only the test functions, not what they call"
)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use quick_xml::Reader;
use quick_xml::events::{BytesStart, Event};
use vmware_vim_codegen::model::{Card, Field, ManagedType, Method, Model, TypeRef};
use vmware_vim_codegen::{ErrorKind, load, load_beside};

fn manifest() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn committed() -> (PathBuf, Model) {
    let dir = manifest().join("input/vim25-9.1.1");
    let model = load(&dir, Some(&dir.join("vim-sidecar.json"))).unwrap();
    (dir, model)
}

fn methods(model: &Model) -> impl Iterator<Item = &Method> {
    model.managed.values().flat_map(|m| &m.methods)
}

#[test]
fn counts_of_9_1_1() {
    let (_, model) = committed();
    assert_eq!(model.version, "9.1.1.0");
    assert_eq!(model.types.len(), 3_030);
    assert_eq!(model.types.values().map(|t| t.fields.len()).sum::<usize>(), 7_818);
    assert_eq!(model.enums.len(), 446);
    assert_eq!(model.enums.values().map(|e| e.values.len()).sum::<usize>(), 2_088);
    assert_eq!(model.managed.len(), 141);
    assert_eq!(model.managed.values().map(|m| m.properties.len()).sum::<usize>(), 266);
    assert_eq!(methods(&model).count(), 975);
    assert_eq!(model.versions.len(), 36);
    assert_eq!(heirs(&model, "MethodFault"), 699);
    assert_eq!(heirs(&model, "Event"), 443);
    assert!(model.managed["ManagedObject"].methods.is_empty(), "every operation has an owner");
}

/// The services beside, over the types that they import.
#[test]
fn counts_of_the_services_beside() {
    let (_, mut model) = committed();
    let (types, enums, managed, calls) = (3_030, 446, 141, 975);
    let input = manifest().join("input");
    load_beside(&mut model, &input.join("pbm-9.1.1/pbm.wsdl")).unwrap();
    let counted =
        |model: &Model| (model.types.len(), model.enums.len(), model.managed.len(), methods(model).count());
    assert_eq!(counted(&model), (types + 75, enums + 22, managed + 8, calls + 32));
    load_beside(&mut model, &input.join("vslm-9.0.0/vslm.wsdl")).unwrap();
    assert_eq!(counted(&model), (types + 93, enums + 27, managed + 13, calls + 78));
    let spaces: Vec<_> = model.services.iter().map(|service| service.namespace.as_str()).collect();
    assert_eq!(spaces, ["urn:vim25", "urn:pbm", "urn:vslm"]);

    // A base, a field, a parameter and a fault of the imported namespace; tasks of the service's own type.
    assert_eq!(model.types["PbmFault"].base.as_deref(), Some("MethodFault"));
    assert!(model.types["MethodFault"].subtypes.contains(&"PbmFault".to_owned()));
    let replication = field(&model.types["PbmQueryReplicationGroupResult"].fields, "replicationGroupId");
    assert_eq!(replication.ty, TypeRef::Data("ReplicationGroupId".into()));
    let create = method(&model, "VslmCreateDisk_Task");
    assert_eq!(create.params[0].ty, TypeRef::Data("VslmCreateSpec".into()));
    assert_eq!(create.result.as_ref().unwrap().ty, TypeRef::MoRef(Some("VslmTask".into())));
    assert_eq!(create.task_result.as_ref().unwrap().ty, TypeRef::Data("VStorageObject".into()));
    assert!(create.faults.contains(&"InvalidDatastore".to_owned()));
    // Told by the versions of the API.
    let since = |version: u8| model.versions[usize::from(version)].id.as_str();
    assert_eq!(since(model.managed["VslmVStorageObjectManager"].since), "6.7.2");
    assert_eq!(model.services[2].versions[1], (12, "6.7.2".to_owned()));

    let twice = load_beside(&mut model, &input.join("pbm-9.1.1/pbm.wsdl")).unwrap_err();
    assert_eq!(twice.kind(), ErrorKind::Duplicate, "{twice}");
}

/// The type and everything below it.
fn heirs(model: &Model, name: &str) -> usize {
    1 + model.types[name].subtypes.iter().map(|sub| heirs(model, sub)).sum::<usize>()
}

#[test]
fn versions_of_9_1_1() {
    let (_, model) = committed();
    let ids: Vec<&str> = model.versions.iter().map(|v| v.id.as_str()).collect();
    assert_eq!(ids[..5], ["2.5", "2.5u2", "2.5u2server", "4.0", "4.1"]);
    assert_eq!(ids[33..], ["9.1.0.0", "m5CA1EF4D", "9.1.1.0"]);
    assert_eq!(model.versions[3].internal, "vim.version.version5");
    let since = |version: u8| ids[usize::from(version)];

    // Named by versions of the inner layers, which have no id of their own.
    assert_eq!(since(model.types["DynamicData"].since), "2.5");
    assert_eq!(since(field(&model.types["MethodFault"].fields, "faultCause").since), "4.0");
    assert_eq!(since(method(&model, "RetrieveProperties").since), "2.5");
    assert_eq!(since(method(&model, "RetrievePropertiesEx").since), "4.1");
}

#[test]
fn samples_of_9_1_1() {
    let (_, model) = committed();
    let disk = &model.types["VirtualDisk"];
    assert_eq!(disk.base.as_deref(), Some("VirtualDevice"));
    assert_eq!(disk.fields[0].name, "capacityInKB");
    assert_eq!(disk.fields[0].ty, TypeRef::Long);
    assert_eq!(disk.vmodl.as_deref(), Some("vim.vm.device.VirtualDisk"));
    assert!(model.types["VirtualDevice"].subtypes.contains(&"VirtualDisk".to_owned()));

    let create = method(&model, "CreateSnapshotEx_Task");
    assert_eq!(
        create.params.iter().map(|p| p.name.as_str()).collect::<Vec<_>>(),
        ["name", "description", "memory", "quiesceSpec"]
    );
    assert!(create.is_task);
    assert_eq!(create.result.as_ref().unwrap().ty, TypeRef::MoRef(Some("Task".into())));
    assert_eq!(
        create.task_result.as_ref().unwrap().ty,
        TypeRef::MoRef(Some("VirtualMachineSnapshot".into()))
    );
    assert_eq!(create.privilege.as_deref(), Some("VirtualMachine.State.CreateSnapshot"));
    assert!(create.faults.contains(&"TaskInProgress".to_owned()));
    assert!(methods(&model).all(|m| !m.faults.contains(&"RuntimeFault".to_owned())));

    let vm = &model.managed["VirtualMachine"];
    assert_eq!(vm.base.as_deref(), Some("ManagedEntity"));
    let snapshot = vm.properties.iter().find(|p| p.name == "rootSnapshot").unwrap();
    assert_eq!(
        (&snapshot.ty, snapshot.card),
        (&TypeRef::MoRef(Some("VirtualMachineSnapshot".into())), Card::Many)
    );
    assert!(field(&method(&model, "Login").params, "password").secret);
    assert_eq!(method(&model, "QueryChangedDiskAreas").params.len(), 4);
}

#[test]
fn every_name_in_9_1_1_is_defined() {
    let (_, model) = committed();
    let known = |ty: &TypeRef| match ty {
        TypeRef::Data(name) => model.types.contains_key(name),
        TypeRef::Enum(name) => model.enums.contains_key(name),
        TypeRef::MoRef(name) => name.as_ref().is_some_and(|name| model.managed.contains_key(name)),
        // None is used as a type today.
        TypeRef::ArrayOf(_) => false,
        _ => true,
    };
    for data in model.types.values() {
        assert!(
            data.base.as_ref().is_none_or(|base| model.types[base].subtypes.contains(&data.name)),
            "{}",
            data.name
        );
        assert!(data.subtypes.is_sorted());
        for field in &data.fields {
            // One kind of reference is deliberately open: to any object at all.
            assert!(known(&field.ty) || field.ty == TypeRef::MoRef(None), "{}.{}", data.name, field.name);
            assert!(field.since >= data.since);
        }
    }
    for item in model.managed.values() {
        assert!(item.properties.iter().all(|p| known(&p.ty)), "{}", item.name);
    }
    for method in methods(&model) {
        assert!(method.params.iter().all(|p| known(&p.ty)), "{}", method.name);
        assert!(method.result.iter().chain(&method.task_result).all(|r| known(&r.ty)), "{}", method.name);
        assert!(method.faults.is_sorted() && method.faults.iter().all(|f| model.types.contains_key(f)));
        assert_eq!(method.is_task, method.name.ends_with("_Task"));
    }
}

#[test]
fn a_second_reader_sees_the_same_9_1_1() {
    let (dir, model) = committed();
    compare(&dir, &model);
}

/// VMware's own files may not be part of this repository; the test runs where somebody has put them.
#[test]
fn vmwares_own_6_7_3() {
    let dir = std::env::var_os("VIM_WSDL_673")
        .map_or_else(|| manifest().join("../../shared/wsdl/vim25-6.7.3-vmware"), PathBuf::from);
    if !dir.join("vim.wsdl").exists() {
        eprintln!("skipped: no WSDL of 6.7.3; set VIM_WSDL_673 to a folder with VMware's vim.wsdl");
        return;
    }
    let model = load(&dir, None).unwrap();
    assert_eq!(model.version, "6.7.3");
    // ManagedObjectReference is the 2,766th complex type.
    assert_eq!(model.types.len(), 2_765);
    assert_eq!(model.types.values().map(|t| t.fields.len()).sum::<usize>(), 6_721);
    assert_eq!(model.enums.len(), 357);
    assert_eq!(methods(&model).count(), 881);
    compare(&dir, &model);
}

fn field<'a>(fields: &'a [Field], name: &str) -> &'a Field {
    fields.iter().find(|f| f.name == name).unwrap()
}

fn method<'a>(model: &'a Model, name: &str) -> &'a Method {
    methods(model).find(|m| m.name == name).unwrap()
}

// A second reader. It knows no XML Schema: it takes names and attributes as they stand in the text.

/// Name, type, minOccurs, maxOccurs.
type Row = (String, String, String, String);

#[derive(Default)]
struct Text {
    /// Complex types, and elements with an inline type under the element's name: base and rows.
    complex: BTreeMap<String, (Option<String>, Vec<Row>)>,
    enums: BTreeMap<String, Vec<String>>,
    operations: Vec<String>,
}

fn compare(dir: &Path, model: &Model) {
    let mut text = Text::default();
    for name in [
        "core-types.xsd",
        "query-types.xsd",
        "vim-types.xsd",
        "query-messagetypes.xsd",
        "vim-messagetypes.xsd",
    ] {
        scan(&fs::read_to_string(dir.join(name)).unwrap(), &mut text);
    }
    scan(&fs::read_to_string(dir.join("vim.wsdl")).unwrap(), &mut text);

    for data in model.types.values() {
        let found = (data.base.clone(), rows(&data.fields));
        assert_eq!(text.complex.remove(&data.name), Some(found), "{}", data.name);
    }
    for item in model.enums.values() {
        assert_eq!(text.enums.remove(&item.name).as_ref(), Some(&item.values), "{}", item.name);
    }
    assert!(text.enums.is_empty(), "only in the text: {:?}", text.enums.keys());
    let mut names: Vec<&str> = Vec::new();
    for method in model.managed.values().flat_map(|m: &ManagedType| &m.methods) {
        names.push(&method.name);
        let request = format!("{}RequestType", method.name.trim_end_matches("_Task"));
        let mut params = vec![row("_this", "ManagedObjectReference", Card::Required)];
        params.extend(rows(&method.params));
        assert_eq!(text.complex.remove(&request), Some((None, params)), "{request}");
        let response = format!("{}Response", method.name);
        let result =
            method.result.iter().map(|r| row("returnval", &type_name(&r.ty), r.card)).collect::<Vec<_>>();
        assert_eq!(
            text.complex.remove(&response).map_or_else(Vec::new, |(_, rows)| rows),
            result,
            "{response}"
        );
    }
    names.sort_unstable();
    text.operations.sort_unstable();
    text.operations.dedup(); // The binding repeats them.
    assert_eq!(names, text.operations);
    text.complex.retain(|name, _| !name.starts_with("ArrayOf") && name != "ManagedObjectReference");
    assert!(text.complex.is_empty(), "only in the text: {:?}", text.complex.keys());
}

fn scan(xml: &str, text: &mut Text) {
    let mut reader = Reader::from_str(xml);
    let mut current = String::new();
    let mut in_complex = false;
    loop {
        let (element, open) = match reader.read_event().unwrap() {
            Event::Start(element) => (element, true),
            Event::Empty(element) => (element, false),
            Event::End(end) => {
                in_complex &= end.local_name().into_inner() != "complexType";
                continue;
            }
            Event::Eof => break,
            _ => continue,
        };
        let name = get(&element, "name");
        match element.local_name().into_inner() {
            "complexType" => {
                in_complex = open;
                current = name.unwrap_or(current);
                text.complex.entry(current.clone()).or_default();
            }
            "extension" => text.complex.get_mut(&current).unwrap().0 = get(&element, "base"),
            "element" if in_complex => {
                let row = (
                    name.unwrap(),
                    get(&element, "type").unwrap(),
                    get(&element, "minOccurs").unwrap_or("1".into()),
                    get(&element, "maxOccurs").unwrap_or("1".into()),
                );
                // The model does not tell an array that may be empty from one that may not.
                let row = if row.3 == "unbounded" { (row.0, row.1, "?".into(), row.3) } else { row };
                text.complex.get_mut(&current).unwrap().1.push(row);
            }
            "element" => current = name.unwrap(),
            "simpleType" => current = name.unwrap(),
            "enumeration" => {
                text.enums.entry(current.clone()).or_default().push(get(&element, "value").unwrap())
            }
            "operation" => text.operations.extend(name),
            _ => {}
        }
    }
}

fn get(element: &BytesStart<'_>, name: &str) -> Option<String> {
    let attribute = element.try_get_attribute(name).unwrap()?;
    let value = attribute.normalized_value(quick_xml::XmlVersion::Implicit1_0).unwrap();
    Some(value.strip_prefix("vim25:").unwrap_or(&value).to_owned())
}

fn rows(fields: &[Field]) -> Vec<Row> {
    fields.iter().map(|f| row(&f.name, &type_name(&f.ty), f.card)).collect()
}

fn row(name: &str, ty: &str, card: Card) -> Row {
    let (min, max) = match card {
        Card::Required => ("1", "1"),
        Card::Optional => ("0", "1"),
        Card::Many => ("?", "unbounded"),
    };
    (name.into(), ty.into(), min.into(), max.into())
}

fn type_name(ty: &TypeRef) -> String {
    let xsd = match ty {
        TypeRef::Bool => "boolean",
        TypeRef::Byte => "byte",
        TypeRef::Short => "short",
        TypeRef::Int => "int",
        TypeRef::Long => "long",
        TypeRef::Float => "float",
        TypeRef::Double => "double",
        TypeRef::String => "string",
        TypeRef::DateTime => "dateTime",
        TypeRef::Binary => "base64Binary",
        TypeRef::Uri => "anyURI",
        TypeRef::AnyType => "anyType",
        TypeRef::MoRef(_) => return "ManagedObjectReference".into(),
        TypeRef::Data(name) | TypeRef::Enum(name) => return name.clone(),
        TypeRef::ArrayOf(_) => panic!("no vSphere schema uses a wrapper as a type"),
    };
    format!("xsd:{xsd}")
}
