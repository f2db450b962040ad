//! Messages of the services beside the API: what is of which namespace.

use vim_api::dynamic::{Element, Poly, Value};
use vim_api::soap::{Message, Outcome, envelope_in, reply};
use vim_api::types as t;
use vim_api::xml::{Limits, Service, Writer};
use vim_api::{ApiVersion, MoRef, mo};

fn argument(service: Service, name: &str, value: &impl Element) -> String {
    let mut writer = Writer::of(service, ApiVersion::LATEST);
    value.encode(name, &mut writer);
    writer.finish()
}

/// What pyvmomi 9.1.1 writes for the same values, without the `versionId` that it puts on arguments.
#[test]
fn types_of_the_api_keep_their_namespace_within_another_service() {
    let backing = t::VslmCreateSpecDiskFileBackingSpec {
        base: t::VslmCreateSpecBackingSpec {
            datastore: MoRef::<mo::Datastore>::new("datastore-1"),
            path: Some("fcd".into()),
            ..Default::default()
        },
        provisioning_type: Some("thin".into()),
    };
    let spec = t::VslmCreateSpec {
        name: "a&b".into(),
        keep_after_delete_vm: Some(true),
        backing_spec: Poly::new(backing),
        capacity_in_mb: 4,
        ..Default::default()
    };
    assert_eq!(
        argument(Service::Vslm, "spec", &spec),
        "<spec><name xmlns=\"urn:vim25\">a&amp;b</name><keepAfterDeleteVm xmlns=\"urn:vim25\">true</keepAfterDeleteVm>\
         <backingSpec xmlns=\"urn:vim25\" xsi:type=\"VslmCreateSpecDiskFileBackingSpec\"><datastore type=\"Datastore\">\
         datastore-1</datastore><path>fcd</path><provisioningType>thin</provisioningType></backingSpec>\
         <capacityInMB xmlns=\"urn:vim25\">4</capacityInMB></spec>"
    );
}

/// Again pyvmomi's text.
#[test]
fn types_of_the_service_itself_need_no_declaration() {
    let property =
        t::PbmCapabilityPropertyInstance { id: "p".into(), value: Value::Bool(true), ..Default::default() };
    let constraint =
        t::PbmCapabilityConstraintInstance { property_instance: vec![property], ..Default::default() };
    let id = t::PbmCapabilityMetadataUniqueId { namespace: "n".into(), id: "i".into(), ..Default::default() };
    let capability = t::PbmCapabilityInstance { id, constraint: vec![constraint], ..Default::default() };
    let sub =
        t::PbmCapabilitySubProfile { name: "s".into(), capability: vec![capability], ..Default::default() };
    let constraints = t::PbmCapabilitySubProfileConstraints { sub_profiles: vec![sub], ..Default::default() };
    let spec = t::PbmCapabilityProfileUpdateSpec {
        name: Some("x".into()),
        constraints: Some(Poly::new(constraints)),
        ..Default::default()
    };
    assert_eq!(
        argument(Service::Pbm, "updateSpec", &spec),
        "<updateSpec><name>x</name><constraints xsi:type=\"PbmCapabilitySubProfileConstraints\"><subProfiles><name>s</name>\
         <capability><id><namespace>n</namespace><id>i</id></id><constraint><propertyInstance><id>p</id>\
         <value xsi:type=\"xsd:boolean\">true</value></propertyInstance></constraint></capability></subProfiles>\
         </constraints></updateSpec>"
    );
}

/// The form in which a vCenter 6.5 was seen to answer: prefixed types, the elements in the default namespace.
#[test]
fn prefixed_types_of_a_service_are_known() {
    let content = "<returnval xmlns:pbm=\"urn:pbm\" xsi:type=\"pbm:PbmCapabilityProfile\"><profileId><uniqueId>u</uniqueId>\
                   </profileId><name>Gold</name><profileCategory>REQUIREMENT</profileCategory></returnval>";
    let answer = envelope_in(Service::Pbm.namespace(), "", "PbmRetrieveContentResponse", &[content]);
    let message = Message::new(answer.into(), Limits::default());
    let read = reply(&message, |reader| {
        let start = reader.next_child()?.unwrap();
        let value = Poly::<t::PbmProfile>::decode(reader, &start)?;
        while reader.next_child()?.is_some() {
            reader.skip()?;
        }
        Ok(value)
    });
    let Ok(Outcome::Returned(profile)) = read else { panic!("{read:?}") };
    let known = profile.downcast_ref::<t::PbmCapabilityProfile>().expect("a PbmCapabilityProfile");
    assert_eq!((known.name.as_str(), known.profile_category.as_str()), ("Gold", "REQUIREMENT"));
    assert!(profile.unknown_type().is_none());
}

/// An object of one service in a place where anything may stand, in a message of another.
#[test]
fn a_type_of_another_service_is_told_by_a_prefix() {
    let property = t::PbmCapabilityPropertyInstance {
        id: "p".into(),
        value: Value::Object(Box::new(t::KeyValue {
            key: "k".into(),
            value: "v".into(),
            ..Default::default()
        })),
        ..Default::default()
    };
    let text = argument(Service::Pbm, "x", &property);
    assert_eq!(
        text,
        "<x><id>p</id><value xmlns:of=\"urn:vim25\" xsi:type=\"of:KeyValue\"><key xmlns=\"urn:vim25\">k</key>\
         <value xmlns=\"urn:vim25\">v</value></value></x>"
    );
}
