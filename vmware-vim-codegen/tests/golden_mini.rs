//! The code that the emitter writes compiles, and its types go through the real engine and back.
//!
//! The engine is vim-api's own source, taken in by path; what needs a connection is replaced by the few lines of
//! `golden/stand_ins`. That spares compiling three thousand types to try twelve.
#![forbid(unsafe_code)]
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    missing_docs,
    reason = "the engine is taken in whole and used in part"
)]
#![allow(clippy::unwrap_used, reason = "clippy spares only the test functions, not what they call")]

#[path = "../../vim-api/src/call"]
mod arguments {
    pub(crate) mod argument;
}
#[path = "../../vim-api/src"]
mod engine {
    pub mod dynamic;
    pub mod moref;
    pub mod version;
    pub mod xml;
}
#[path = "golden/mini.expected"]
mod generated {
    #[rustfmt::skip]
    pub mod managed;
    #[rustfmt::skip]
    pub mod methods;
    #[rustfmt::skip]
    pub mod registry;
    #[rustfmt::skip]
    pub mod types;
    #[rustfmt::skip]
    mod versions;
    pub(crate) use versions::{BESIDE, VERSIONS};
}
#[path = "golden/stand_ins/call.rs"]
mod call;
#[path = "golden/stand_ins/mo.rs"]
mod mo;
#[path = "../../vim-api/src/property/path.rs"]
mod property;

use dynamic::{ArrayOf, Binary, DateTime, Element, Poly, Value};
use engine::{dynamic, moref, version, xml};
use generated::types::{
    Animal, Ant, Bird, Cage, DynamicData, Everything, Hungry, LocalizedMethodFault, MethodFault, Mood,
};
use mo::{Handle, Managed, Zoo};
use moref::MoRef;
use property::{Optional, Property};
use version::ApiVersion;
use xml::{Limits, NS_XSD, NS_XSI, Reader, Writer};

fn encode(value: &impl Element, version: ApiVersion) -> String {
    let mut writer = Writer::new(version);
    value.encode("v", &mut writer);
    writer.finish()
}

fn decode<T: Element>(content: &str) -> T {
    let document = format!("<v xmlns:xsi=\"{NS_XSI}\" xmlns:xsd=\"{NS_XSD}\">{content}</v>");
    let mut reader = Reader::new(document.as_bytes(), Limits::default()).unwrap();
    let start = reader.expect_child("v").unwrap();
    let value = T::decode(&mut reader, &start).unwrap();
    reader.finish().unwrap();
    value
}

fn bird() -> Bird {
    Bird {
        base: Animal {
            name: "Paul".into(),
            mood: Some(Mood::V3dView),
            keeper: Some(MoRef::new("zoo-1")),
            friend: vec![
                Poly::new(Ant::default()),
                Poly::new(Animal { name: "Ida".into(), ..Animal::default() }),
            ],
            ..Animal::default()
        },
        wingspan: 1.5,
        song: vec![-1, 2],
    }
}

const BIRD: &str = "<name>Paul</name><mood>3d-view</mood><keeper type=\"Zoo\">zoo-1</keeper>\
    <friend xsi:type=\"Ant\"><name></name></friend><friend><name>Ida</name></friend>\
    <wingspan>1.5</wingspan><song>-1</song><song>2</song>";

#[test]
fn an_object_goes_there_and_back() {
    assert_eq!(encode(&bird(), ApiVersion::LATEST), format!("<v>{BIRD}</v>"));
    let read: Bird = decode(BIRD);
    assert_eq!(encode(&read, ApiVersion::LATEST), format!("<v>{BIRD}</v>"));
    assert_eq!(read.name, "Paul", "the base's fields are at hand");
    assert!(read.friend[0].is::<Ant>() && !read.friend[1].is::<Ant>());
}

#[test]
fn every_primitive_goes_there_and_back() {
    let content = "<yes>true</yes><tiny>-128</tiny><small>-32768</small><usual>7</usual><large>9223372036854775807</large>\
        <rough>0.5</rough><fine>0.1</fine><text>a &amp; b</text><when>2026-11-22T22:19:03Z</when><blob>AAE=</blob>\
        <place>urn:x</place><any xsi:type=\"Bird\"><name>B</name><wingspan>0</wingspan></any><names><string>n</string></names>\
        <password>hunter2</password><animal>key</animal>\
        <why><fault xsi:type=\"Hungry\"><hours>3</hours></fault><localizedMessage>m</localizedMessage></why>";
    let read: Everything = decode(content);
    assert_eq!(encode(&read, ApiVersion::LATEST), format!("<v>{content}</v>"));
    assert_eq!((read.tiny, read.small, read.usual, read.large), (-128, -32768, 7, i64::MAX));
    assert_eq!((read.blob.clone(), read.names.clone()), (Binary(vec![0, 1]), ArrayOf(vec!["n".to_owned()])));
    assert!(matches!(&read.any, Value::Object(any) if any.is::<Bird>()));
    assert_eq!(read.why.as_ref().unwrap().fault.downcast_ref::<Hungry>().unwrap().hours, 3);
    let shown = format!("{read:?}");
    assert!(shown.contains("[secret]") && !shown.contains("hunter2"), "{shown}");
}

#[test]
fn all_types_are_in_the_registry_and_survive() {
    let mut count = 0;
    for info in dynamic::type_infos() {
        count += 1;
        let written = encode(&Value::Object(info.instantiate()), ApiVersion::LATEST);
        let mut reader = Reader::fragment(&written, Limits::default()).unwrap();
        let start = reader.expect_child("v").unwrap();
        let again = Value::decode(&mut reader, &start).unwrap();
        assert_eq!(encode(&again, ApiVersion::LATEST), written);
    }
    assert_eq!(count, 11);
    assert!(dynamic::type_info("Bird").unwrap().is_a(dynamic::type_info("Animal").unwrap()));
    assert!(matches!(decode::<DynamicData>("").extra.elements(), []));
}

#[test]
fn versions_order_what_is_written() {
    assert_eq!(ApiVersion::LATEST.id(), "4.0");
    let oldest = encode(&bird(), ApiVersion::OLDEST);
    assert!(!oldest.contains("mood") && !oldest.contains("friend"), "{oldest}");
    let middle = encode(&bird(), ApiVersion::parse("m7").unwrap());
    assert!(middle.contains("mood") && !middle.contains("friend"), "{middle}");
}

#[test]
fn an_enumeration_takes_what_it_does_not_know() {
    assert_eq!(decode::<Mood>("Wild"), Mood::Wild);
    assert_eq!(decode::<Mood>("sleepy"), Mood::Unrecognized("sleepy".into()));
    assert_eq!(Mood::default(), Mood::Calm);
}

#[test]
fn a_method_writes_its_arguments() {
    let zoo = Zoo::from(Handle { moref: MoRef::of_type("Zoo", "zoo-1") });
    let call =
        zoo.feed_animal_task(&Poly::new(bird()), &[MoRef::new("zoo-2"), MoRef::new("zoo-3")], Some("a < b"));
    assert_eq!(
        call.request,
        format!(
            "<_this type=\"Zoo\">zoo-1</_this><animal xsi:type=\"Bird\">{BIRD}</animal><helper type=\"Zoo\">zoo-2</helper>\
             <helper type=\"Zoo\">zoo-3</helper><secretRecipe>a &lt; b</secretRecipe>"
        )
    );
    assert_eq!(
        (call.method.name, call.method.is_task, call.method.privilege),
        ("FeedAnimal_Task", true, Some("Zoo.Feed"))
    );
    assert_eq!(call.method.faults, ["Asleep", "Hungry"]);
    let since: Vec<_> = call.method.params.iter().map(|p| (p.name, p.since().id(), p.secret)).collect();
    assert_eq!(since, [("animal", "2.5", false), ("helper", "m7", false), ("secretRecipe", "4.0", true)]);
    let without = zoo.feed_animal_task(&Poly::new(Ant::default()), &[], None);
    assert!(
        without.request.ends_with("<animal xsi:type=\"Ant\"><name></name></animal>"),
        "{}",
        without.request
    );
    // One that no object owns, reached through what the object extends.
    assert_eq!(zoo.close_zoo().request, "<_this type=\"Zoo\">zoo-1</_this>");
    assert_eq!(dynamic::method("CountAnimals").unwrap().since().id(), "m7");
}

#[test]
fn properties_have_paths_and_a_table() {
    assert_eq!((Zoo::ANIMAL.as_str(), Zoo::NEIGHBOUR.as_str()), ("animal", "neighbour"));
    let info = Zoo::INFO;
    assert!(info.is_a("ManagedObject") && !info.is_a("Task"));
    let animal = info.property("animal").unwrap();
    assert_eq!((animal.type_name, animal.privilege), ("Animal[]", Some("System.Read")));
    assert_eq!(dynamic::managed_type("Zoo").unwrap().properties.len(), 6);
    // The types are half of what is asserted here: a list, what may be unset, what is behind a key, what is inherited.
    let cages: Property<Zoo, Vec<Cage>> = Zoo::CAGE;
    let name: Property<Zoo, String, Optional> = cages.at(7).inmate().name();
    assert_eq!(name.as_str(), "cage[7].inmate.name");
    let cause: Property<Zoo, Poly<MethodFault>, Optional> = Zoo::TROUBLE.fault().fault_cause().fault();
    assert_eq!(cause.to_string(), "trouble.fault.faultCause.fault");
    let reference: MoRef = MoRef::of_type("Zoo", "zoo-1");
    assert_eq!(reference.downcast::<Zoo>(), Some(MoRef::new("zoo-1")));
    assert!(reference.downcast::<mo::Task>().is_none());
}
