//! The model of the miniature sets, field by field.
#![allow(clippy::unwrap_used, reason = "clippy spares only the test functions, not what they call")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use vmware_vim_codegen::load;
use vmware_vim_codegen::model::{
    ApiVersion, Card, DataType, EnumType, Field, ManagedType, Method, MethodResult, Model, Property, Service,
    TypeRef,
};

use Card::{Many, Optional, Required};

fn golden(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/golden").join(name)
}

fn field(name: &str, ty: TypeRef, card: Card, since: u8) -> Field {
    Field { name: name.into(), ty, card, since, secret: false, privilege: None }
}

fn data(name: &str, base: Option<&str>, since: u8, vmodl: Option<&str>, fields: Vec<Field>) -> DataType {
    let (base, vmodl) = (base.map(Into::into), vmodl.map(Into::into));
    DataType { name: name.into(), service: 0, base, fields, since, subtypes: Vec::new(), vmodl }
}

fn property(name: &str, ty: TypeRef, card: Card, since: u8, privilege: Option<&str>) -> Property {
    Property { name: name.into(), ty, card, since, privilege: privilege.map(Into::into) }
}

fn method(name: &str, params: Vec<Field>, result: Option<(TypeRef, Card)>, since: u8) -> Method {
    Method {
        name: name.into(),
        vmodl: None,
        params,
        result: result.map(|(ty, card)| MethodResult { ty, card }),
        task_result: None,
        is_task: false,
        faults: Vec::new(),
        since,
        privilege: None,
    }
}

fn managed(name: &str, base: Option<&str>, vmodl: Option<&str>) -> ManagedType {
    let (base, vmodl) = (base.map(Into::into), vmodl.map(Into::into));
    ManagedType {
        name: name.into(),
        service: 0,
        base,
        since: 0,
        properties: Vec::new(),
        methods: Vec::new(),
        vmodl,
    }
}

fn object(name: &str) -> TypeRef {
    TypeRef::Data(name.into())
}

fn reference(name: &str) -> TypeRef {
    TypeRef::MoRef(Some(name.into()))
}

/// Compares item by item, so that a difference is shown where it is.
fn assert_same<T: PartialEq + std::fmt::Debug>(found: &BTreeMap<String, T>, expected: BTreeMap<String, T>) {
    assert_eq!(found.keys().collect::<Vec<_>>(), expected.keys().collect::<Vec<_>>());
    for (name, item) in expected {
        assert_eq!(found[&name], item);
    }
}

#[test]
fn mini() {
    let model = load(&golden("mini"), Some(&golden("mini/sidecar.json"))).unwrap();
    assert_eq!((model.services[0].namespace.as_str(), model.version.as_str()), ("urn:vim25", "4.0"));
    let versions =
        [("2.5", "vim.version.version2"), ("m7", "vim.version.milestone"), ("4.0", "vim.version.version5")];
    assert_eq!(
        model.versions,
        versions.map(|(id, inner)| ApiVersion { id: id.into(), internal: inner.into() })
    );
    mini_types(&model);
    mini_managed(&model);
}

fn mini_types(model: &Model) {
    let mood = EnumType {
        name: "Mood".into(),
        service: 0,
        values: ["calm", "Wild", "3d-view"].map(String::from).into(),
        since: 1,
        vmodl: Some("vim.Mood".into()),
    };
    assert_same(&model.enums, [("Mood".to_owned(), mood)].into());

    let animal = vec![
        field("name", TypeRef::String, Required, 0),
        field("mood", TypeRef::Enum("Mood".into()), Optional, 1),
        field("keeper", reference("Zoo"), Optional, 0),
        field("friend", object("Animal"), Many, 2),
    ];
    let bird = vec![field("wingspan", TypeRef::Double, Required, 0), field("song", TypeRef::Byte, Many, 0)];
    let everything = vec![
        field("yes", TypeRef::Bool, Required, 1),
        field("tiny", TypeRef::Byte, Required, 1),
        field("small", TypeRef::Short, Required, 1),
        field("usual", TypeRef::Int, Required, 1),
        field("large", TypeRef::Long, Required, 1),
        field("rough", TypeRef::Float, Required, 1),
        field("fine", TypeRef::Double, Required, 1),
        field("text", TypeRef::String, Required, 1),
        field("when", TypeRef::DateTime, Required, 1),
        field("blob", TypeRef::Binary, Required, 1),
        field("place", TypeRef::Uri, Required, 1),
        field("any", TypeRef::AnyType, Required, 1),
        field("names", TypeRef::ArrayOf(Box::new(TypeRef::String)), Required, 1),
        Field { secret: true, ..field("password", TypeRef::String, Optional, 1) },
        field("animal", TypeRef::String, Optional, 1),
        field("why", object("LocalizedMethodFault"), Optional, 1),
    ];
    let cage = vec![field("key", TypeRef::Int, Required, 0), field("inmate", object("Animal"), Optional, 0)];
    let localized = vec![
        field("fault", object("MethodFault"), Required, 0),
        field("localizedMessage", TypeRef::String, Optional, 0),
    ];
    let cause = field("faultCause", object("LocalizedMethodFault"), Optional, 2);
    let hours = field("hours", TypeRef::Int, Required, 0);
    let mut expected: BTreeMap<String, DataType> = [
        data("DynamicData", None, 0, Some("vmodl.DynamicData"), vec![]),
        data("Animal", Some("DynamicData"), 0, Some("vim.Animal"), animal),
        data("Bird", Some("Animal"), 0, None, bird),
        data("Ant", Some("Animal"), 0, None, vec![]),
        data("Cage", Some("DynamicData"), 0, Some("vim.Cage"), cage),
        data("Everything", Some("DynamicData"), 1, Some("vim.Everything"), everything),
        data("MethodFault", None, 0, Some("vmodl.MethodFault"), vec![cause]),
        data("LocalizedMethodFault", Some("DynamicData"), 0, None, localized),
        data("RuntimeFault", Some("MethodFault"), 0, None, vec![]),
        data("Hungry", Some("MethodFault"), 0, None, vec![hours]),
        data("Asleep", Some("MethodFault"), 0, None, vec![]),
    ]
    .map(|t| (t.name.clone(), t))
    .into();
    for (base, subtypes) in [
        ("DynamicData", &["Animal", "Cage", "Everything", "LocalizedMethodFault"][..]),
        ("Animal", &["Ant", "Bird"]),
        ("MethodFault", &["Asleep", "Hungry", "RuntimeFault"]),
    ] {
        expected.get_mut(base).unwrap().subtypes = subtypes.iter().map(|name| (*name).to_owned()).collect();
    }
    assert_same(&model.types, expected);
}

fn mini_managed(model: &Model) {
    let mut root = managed("ManagedObject", None, Some("vmodl.ManagedObject"));
    // The sidecar does not mention this operation.
    root.methods = vec![method("CloseZoo", vec![], None, 0)];
    let task = managed("Task", Some("ManagedObject"), Some("vim.Task"));
    let mut zoo = managed("Zoo", Some("ManagedObject"), Some("vim.Zoo"));
    zoo.properties = vec![
        property("animal", object("Animal"), Many, 0, Some("System.Read")),
        property("cage", object("Cage"), Many, 0, None),
        property("neighbour", reference("Zoo"), Optional, 1, None),
        property("mood", TypeRef::Enum("Mood".into()), Required, 0, None),
        property("song", TypeRef::Byte, Many, 0, None),
        property("trouble", object("LocalizedMethodFault"), Optional, 2, None),
    ];
    let feed = vec![
        Field { privilege: Some("Zoo.Touch".into()), ..field("animal", object("Animal"), Required, 0) },
        field("helper", reference("Zoo"), Many, 1),
        Field { secret: true, ..field("secretRecipe", TypeRef::String, Optional, 2) },
    ];
    zoo.methods = vec![
        Method {
            vmodl: Some("feed".into()),
            is_task: true,
            task_result: Some(MethodResult { ty: object("Animal"), card: Optional }),
            faults: vec!["Asleep".into(), "Hungry".into()],
            privilege: Some("Zoo.Feed".into()),
            ..method("FeedAnimal_Task", feed, Some((reference("Task"), Required)), 0)
        },
        Method {
            vmodl: Some("count".into()),
            ..method("CountAnimals", vec![], Some((object("Animal"), Many)), 1)
        },
    ];
    assert_same(&model.managed, [root, task, zoo].map(|m| (m.name.clone(), m)).into());
}

#[test]
fn without_a_sidecar_nothing_is_invented() {
    let model = load(&golden("mini"), None).unwrap();
    assert_eq!(model.version, "4.0");
    assert_eq!(model.versions, [ApiVersion { id: "4.0".into(), internal: String::new() }]);
    assert_eq!(model.managed.keys().collect::<Vec<_>>(), ["ManagedObject"]);
    let names: Vec<&str> = model.managed["ManagedObject"].methods.iter().map(|m| m.name.as_str()).collect();
    assert_eq!(names, ["FeedAnimal_Task", "CountAnimals", "CloseZoo"]);
    assert!(model.types.values().all(|t| t.since == 0 && t.vmodl.is_none()));
    assert_eq!(model.types["Animal"].fields[2].ty, TypeRef::MoRef(None));
    let feed = &model.managed["ManagedObject"].methods[0];
    assert_eq!(feed.result, Some(MethodResult { ty: TypeRef::MoRef(None), card: Required }));
    assert_eq!(feed.task_result, None);
    assert!(feed.is_task);
}

#[test]
fn bare() {
    let mut root = managed("ManagedObject", None, None);
    let at = field("at", TypeRef::MoRef(None), Required, 0);
    root.methods = vec![method("Ring", vec![at], Some((object("Tone"), Optional)), 0)];
    let expected = Model {
        services: vec![Service { namespace: "urn:vim25".into(), versions: Vec::new() }],
        version: String::new(),
        versions: vec![ApiVersion { id: String::new(), internal: String::new() }],
        types: [("Tone".to_owned(), data("Tone", None, 0, None, vec![]))].into(),
        enums: BTreeMap::new(),
        managed: [("ManagedObject".to_owned(), root)].into(),
    };
    assert_eq!(load(&golden("bare"), None).unwrap(), expected);
}

#[test]
fn a_folder_with_blanks_and_signs_in_its_name_is_found() {
    let dir = tempfile::tempdir().unwrap();
    let odd = dir.path().join("with blank, % and ä");
    std::fs::create_dir(&odd).unwrap();
    for name in ["vim.wsdl", "mini-types.xsd"] {
        std::fs::copy(golden("mini").join(name), odd.join(name)).unwrap();
    }
    assert_eq!(load(&odd, None).unwrap(), load(&golden("mini"), None).unwrap());
}
