//! The code that the emitter writes for the set without a sidecar compiles with the real engine. See `golden_mini.rs`.
#![forbid(unsafe_code)]
#![allow(
    dead_code,
    unused_imports,
    unused_macros,
    missing_docs,
    reason = "the engine is taken in whole and used in part"
)]

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
#[path = "golden/bare.expected"]
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

use engine::{dynamic, moref, version, xml};
use mo::Handle;

#[test]
fn a_method_without_an_owner_is_on_the_root_of_managed_objects() {
    let bell = mo::ManagedObject::from(Handle { moref: moref::MoRef::of_type("Bell", "bell-1") });
    let call = bell.ring(&moref::MoRef::of_type("Tower", "tower-1"));
    assert_eq!(call.request, "<_this type=\"Bell\">bell-1</_this><at type=\"Tower\">tower-1</at>");
    assert_eq!(call.method.name, "Ring");
}

#[test]
fn the_one_type_is_in_the_registry() {
    let tone = dynamic::type_info("Tone").unwrap().instantiate();
    assert!(tone.downcast_ref::<generated::types::Tone>().is_some());
    assert_eq!(dynamic::type_infos().count(), 1);
}
