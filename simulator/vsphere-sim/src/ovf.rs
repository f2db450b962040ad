//! `OvfManager`: packages described as OVF 1.x envelopes, read and written.
//!
//! A descriptor that cannot be what it says ends in the result's errors, as on a real server; what is not understood, or not
//! carried over, in its warnings. Only references to objects that are not there are faults of the call.

mod describe;
mod envelope;
mod import_spec;
mod problem;

use vim_api::dynamic::{Element, Poly, Value};
use vim_api::types as t;
use vim_api::{MoRef, mo};

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, not_found};
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};
use envelope::Envelope;
use problem::Problems;

/// The newest hardware version that machines can have here.
const NEWEST_HARDWARE: u32 = 21;

/// What `diskProvisioning` may be.
const PROVISIONING: [&str; 7] =
    ["thin", "thick", "eagerZeroedThick", "monolithicSparse", "monolithicFlat", "sparse", "flat"];

/// Carries out a method of `OvfManager`.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "CreateDescriptor" => describe::create(shared, call),
        "CreateImportSpec" => create_import_spec(shared, call),
        "ParseDescriptor" => parse_descriptor(call),
        "ValidateHost" => validate_host(shared, call),
        _ => Err(method_not_found(call)),
    }
}

/// A property of the manager.
pub(crate) fn property(name: &str) -> Option<Value> {
    match name {
        // None of the options that real servers have changes anything here, so none is offered.
        "ovfImportOption" | "ovfExportOption" => Some(Value::array("OvfOptionInfo", Vec::new())),
        _ => None,
    }
}

fn create_import_spec(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let text: String = call.required("ovfDescriptor")?;
    let pool: MoRef<mo::ResourcePool> = call.required("resourcePool")?;
    let datastore: MoRef<mo::Datastore> = call.required("datastore")?;
    let params: Poly<t::OvfCreateImportSpecParams> = call.required("cisp")?;
    let (mut problems, envelope) = read(&text);
    let mut result = t::OvfCreateImportSpecResult::default();
    shared.read(|world| {
        check_there(world, &pool.cast())?;
        check_there(world, &datastore.cast())?;
        if let Some(host) = &params.host_system {
            check_there(world, &host.cast())?;
        }
        if let Some(envelope) = &envelope {
            let place = import_spec::Place { world, pool: &pool, datastore: &datastore };
            let made = import_spec::make(&place, envelope, &params, &mut problems);
            if let Some((spec, files)) = made.filter(|_| problems.errors.is_empty()) {
                result.import_spec = Some(Poly::new(spec));
                result.file_item = files;
            }
        }
        Ok(())
    })?;
    (result.error, result.warning) = (problems.errors, problems.warnings);
    Ok(Answer::one(call, &result))
}

fn parse_descriptor(call: &Call) -> Outcome<Answer> {
    let text: String = call.required("ovfDescriptor")?;
    let params: t::OvfParseDescriptorParams = call.required("pdp")?;
    let (mut problems, envelope) = read(&text);
    let envelope = envelope.unwrap_or_default();
    let system = &envelope.system;
    let wanted = params.base.deployment_option.as_str();
    if !wanted.is_empty() && !envelope.options.iter().any(|option| option.id == wanted) {
        problems.unknown_option(wanted);
    }
    let sizes = Sizes::of(&envelope);
    let result = t::OvfParseDescriptorResult {
        eula: system.eulas.clone(),
        network: envelope
            .networks
            .iter()
            .map(|(name, description)| t::OvfNetworkInfo {
                name: name.clone(),
                description: description.clone(),
                ..Default::default()
            })
            .collect(),
        property: system.products.iter().flat_map(|product| product.properties.clone()).collect(),
        product_info: system.products.first().map(|product| Box::new(product.info.clone())),
        annotation: system.annotation.clone(),
        approximate_download_size: sizes.download,
        approximate_flat_deployment_size: Some(sizes.flat),
        approximate_sparse_deployment_size: sizes.sparse,
        default_entity_name: system.shown_name().to_owned(),
        virtual_app: envelope.is_collection,
        deployment_option: envelope
            .options
            .iter()
            .map(|option| t::OvfDeploymentOption {
                key: option.id.clone(),
                label: option.label.clone(),
                description: option.description.clone(),
                ..Default::default()
            })
            .collect(),
        default_deployment_option: envelope.default_option().to_owned(),
        error: problems.errors,
        warning: problems.warnings,
        ..Default::default()
    };
    Ok(Answer::one(call, &result))
}

fn validate_host(shared: &Shared, call: &Call) -> Outcome<Answer> {
    let text: String = call.required("ovfDescriptor")?;
    let host: MoRef<mo::HostSystem> = call.required("host")?;
    shared.read(|world| check_there(world, &host.cast()))?;
    let (mut problems, envelope) = read(&text);
    let envelope = envelope.unwrap_or_default();
    import_spec::hardware_version(&envelope.system, &mut problems);
    let sizes = Sizes::of(&envelope);
    let result = t::OvfValidateHostResult {
        download_size: sizes.download,
        flat_deployment_size: Some(sizes.flat),
        sparse_deployment_size: sizes.sparse,
        error: problems.errors,
        warning: problems.warnings,
        supported_disk_provisioning: PROVISIONING.iter().map(|&name| name.to_owned()).collect(),
        ..Default::default()
    };
    Ok(Answer::one(call, &result))
}

fn read(text: &str) -> (Problems, Option<Envelope>) {
    let mut problems = Problems::default();
    match envelope::read(text, &mut problems) {
        Ok(envelope) => (problems, Some(envelope)),
        Err(error) => {
            problems.malformed(text, &error);
            (problems, None)
        }
    }
}

fn check_there(world: &World, object: &MoRef) -> Outcome<()> {
    world.node(object, None).map(|_| ()).ok_or_else(|| not_found(object))
}

/// What a package takes, in bytes, as far as it says so.
struct Sizes {
    download: Option<i64>,
    flat: i64,
    sparse: Option<i64>,
}

impl Sizes {
    fn of(envelope: &Envelope) -> Self {
        let disks = || envelope.disks.iter();
        Self {
            download: sum(envelope.files.iter().map(|file| file.size)),
            flat: sum(disks().map(|disk| Some(disk.capacity))).unwrap_or(i64::MAX),
            sparse: sum(disks().map(|disk| disk.populated)),
        }
    }
}

fn sum(mut sizes: impl Iterator<Item = Option<u64>>) -> Option<i64> {
    let sum = sizes.try_fold(0_u64, |sum, size| sum.checked_add(size?))?;
    i64::try_from(sum).ok()
}

/// A value as the API shows it, for what has no place of its own in a specification.
fn option(key: &str, value: &str) -> Poly<t::OptionValue> {
    let value = value.to_owned().to_value();
    Poly::new(t::OptionValue { key: key.to_owned(), value: Some(value), ..Default::default() })
}
