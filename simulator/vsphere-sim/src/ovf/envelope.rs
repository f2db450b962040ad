//! Reading an envelope: what of OVF means something here.

use vim_api::types as t;
use vim_api::xml::{Limits, Reader, Start, XmlError};

use super::problem::Problems;

/// A descriptor as large as a request, with no more depth than one with all its sections has.
const LIMITS: Limits = Limits { max_depth: 32, max_bytes: crate::wire::MAX_REQUEST };

/// A package.
#[derive(Default)]
pub(super) struct Envelope {
    pub(super) files: Vec<FileRef>,
    pub(super) disks: Vec<DiskRef>,
    /// Names with descriptions.
    pub(super) networks: Vec<(String, String)>,
    pub(super) options: Vec<DeploymentOption>,
    pub(super) system: System,
    /// It holds several machines.
    pub(super) is_collection: bool,
}

/// A file beside the descriptor.
#[derive(Default)]
pub(super) struct FileRef {
    pub(super) id: String,
    pub(super) href: String,
    /// Bytes.
    pub(super) size: Option<u64>,
    pub(super) compression: Option<String>,
    pub(super) chunked: bool,
}

/// A disk of the package.
#[derive(Default)]
pub(super) struct DiskRef {
    pub(super) id: String,
    /// Of its file; an empty disk has none.
    pub(super) file: Option<String>,
    /// Bytes.
    pub(super) capacity: u64,
    /// Bytes.
    pub(super) populated: Option<u64>,
    pub(super) format: String,
    pub(super) has_parent: bool,
}

#[derive(Default)]
pub(super) struct DeploymentOption {
    pub(super) id: String,
    pub(super) label: String,
    pub(super) description: String,
    is_default: bool,
}

/// A machine.
#[derive(Default)]
pub(super) struct System {
    pub(super) id: String,
    pub(super) name: String,
    /// As VMware names it.
    pub(super) guest_id: Option<String>,
    /// As CIM numbers it.
    pub(super) os: Option<i32>,
    pub(super) annotation: String,
    pub(super) eulas: Vec<String>,
    pub(super) products: Vec<Product>,
    pub(super) has_hardware: bool,
    /// Such as `vmx-21`; several are separated by blanks.
    pub(super) family: String,
    pub(super) items: Vec<Item>,
    /// `vmw:Config` of the machine: key, value, whether it is required.
    pub(super) settings: Vec<(String, String, bool)>,
    /// `vmw:ExtraConfig`.
    pub(super) extra: Vec<(String, String)>,
}

#[derive(Default)]
pub(super) struct Product {
    pub(super) info: t::VAppProductInfo,
    pub(super) properties: Vec<t::VAppPropertyInfo>,
}

/// A piece of hardware.
#[derive(Default, Clone)]
pub(super) struct Item {
    pub(super) name: String,
    pub(super) instance: String,
    pub(super) kind: i32,
    pub(super) subtype: String,
    pub(super) address: Option<i32>,
    pub(super) address_on_parent: Option<i32>,
    pub(super) parent: Option<String>,
    pub(super) resources: Vec<String>,
    pub(super) connections: Vec<String>,
    pub(super) quantity: Option<u64>,
    pub(super) units: String,
    pub(super) cores_per_socket: Option<i32>,
    pub(super) required: bool,
    /// The deployment options in which it is there; all, if none.
    pub(super) options: String,
    /// `vmw:Config` of the device: keys, and whether they are required.
    pub(super) settings: Vec<(String, bool)>,
}

impl Envelope {
    /// The deployment option that is taken if none is asked for; empty if there are none.
    pub(super) fn default_option(&self) -> &str {
        let chosen = self.options.iter().find(|option| option.is_default).or(self.options.first());
        chosen.map_or("", |option| &option.id)
    }
}

impl System {
    /// The name to show.
    pub(super) fn shown_name(&self) -> &str {
        if self.name.is_empty() { &self.id } else { &self.name }
    }
}

/// Reads a descriptor. What is not understood is among the problems.
///
/// # Errors
/// When the text is not an envelope in well-formed XML, or has a DTD.
pub(super) fn read(text: &str, problems: &mut Problems) -> Result<Envelope, XmlError> {
    let mut reader = Reader::new(text.as_bytes(), LIMITS)?;
    reader.expect_child("Envelope")?;
    let mut envelope = Envelope::default();
    let mut systems = 0;
    while let Some(child) = reader.next_child()? {
        match child.local() {
            "References" => references(&mut reader, &mut envelope, problems)?,
            "DiskSection" => disks(&mut reader, &mut envelope, problems)?,
            "NetworkSection" => networks(&mut reader, &mut envelope)?,
            "DeploymentOptionSection" => options(&mut reader, &mut envelope)?,
            "VirtualSystem" => {
                systems += 1;
                envelope.system = system(&mut reader, &child, problems)?;
            }
            "VirtualSystemCollection" => {
                envelope.is_collection = true;
                envelope.system.id = attribute(&child, "id")?.unwrap_or_default();
                reader.skip()?;
            }
            "Strings" => {
                problems.ignored("Strings", "texts are taken as they stand in the descriptor");
                reader.skip()?;
            }
            _ => section(&mut reader, &child, problems)?,
        }
    }
    reader.finish()?;
    if systems != 1 && !envelope.is_collection {
        problems.missing("VirtualSystem");
    }
    Ok(envelope)
}

fn references(
    reader: &mut Reader<'_>,
    envelope: &mut Envelope,
    problems: &mut Problems,
) -> Result<(), XmlError> {
    while let Some(child) = reader.next_child()? {
        if child.local() == "File" {
            let size = attribute(&child, "size")?;
            envelope.files.push(FileRef {
                id: attribute(&child, "id")?.unwrap_or_default(),
                href: attribute(&child, "href")?.unwrap_or_default(),
                size: size.as_deref().and_then(|size| size.trim().parse().ok()),
                compression: attribute(&child, "compression")?.filter(|kind| kind != "identity"),
                chunked: attribute(&child, "chunkSize")?.is_some(),
            });
            if let Some(size) = size.filter(|size| size.trim().parse::<u64>().is_err()) {
                problems.bad_value("File", &size, "is no size");
            }
        }
        reader.skip()?;
    }
    Ok(())
}

fn disks(reader: &mut Reader<'_>, envelope: &mut Envelope, problems: &mut Problems) -> Result<(), XmlError> {
    while let Some(child) = reader.next_child()? {
        if child.local() == "Disk" {
            let text = attribute(&child, "capacity")?.unwrap_or_default();
            let units = attribute(&child, "capacityAllocationUnits")?.unwrap_or_default();
            let capacity = text.trim().parse().ok().and_then(|count| bytes(count, &units));
            if capacity.is_none() {
                problems.bad_value("Disk", &format!("{text} {units}"), "is no capacity that is understood");
            }
            envelope.disks.push(DiskRef {
                id: attribute(&child, "diskId")?.unwrap_or_default(),
                file: attribute(&child, "fileRef")?,
                capacity: capacity.unwrap_or(0),
                populated: attribute(&child, "populatedSize")?.and_then(|size| size.trim().parse().ok()),
                format: attribute(&child, "format")?.unwrap_or_default(),
                has_parent: attribute(&child, "parentRef")?.is_some(),
            });
        }
        reader.skip()?;
    }
    Ok(())
}

fn networks(reader: &mut Reader<'_>, envelope: &mut Envelope) -> Result<(), XmlError> {
    while let Some(child) = reader.next_child()? {
        if child.local() != "Network" {
            reader.skip()?;
            continue;
        }
        let name = attribute(&child, "name")?.unwrap_or_default();
        let texts = texts(reader)?;
        envelope.networks.push((name, texts.get("Description")));
    }
    Ok(())
}

fn options(reader: &mut Reader<'_>, envelope: &mut Envelope) -> Result<(), XmlError> {
    while let Some(child) = reader.next_child()? {
        if child.local() != "Configuration" {
            reader.skip()?;
            continue;
        }
        let id = attribute(&child, "id")?.unwrap_or_default();
        let is_default = is_true(attribute(&child, "default")?.as_deref());
        let texts = texts(reader)?;
        let (label, description) = (texts.get("Label"), texts.get("Description"));
        envelope.options.push(DeploymentOption { id, label, description, is_default });
    }
    Ok(())
}

fn system(reader: &mut Reader<'_>, start: &Start<'_>, problems: &mut Problems) -> Result<System, XmlError> {
    let mut system = System { id: attribute(start, "id")?.unwrap_or_default(), ..System::default() };
    while let Some(child) = reader.next_child()? {
        match child.local() {
            "Info" => reader.skip()?,
            "Name" => system.name = reader.text()?.into_owned(),
            "OperatingSystemSection" => {
                system.guest_id = attribute(&child, "osType")?;
                system.os = attribute(&child, "id")?.and_then(|id| id.trim().parse().ok());
                reader.skip()?;
            }
            "AnnotationSection" => system.annotation = texts(reader)?.get("Annotation"),
            "EulaSection" => system.eulas.push(texts(reader)?.get("License")),
            "ProductSection" => {
                let product = product(reader, &child)?;
                system.products.push(product);
            }
            "VirtualHardwareSection" if system.has_hardware => {
                problems.ignored("VirtualHardwareSection", "the first one is taken");
                reader.skip()?;
            }
            "VirtualHardwareSection" => {
                system.has_hardware = true;
                hardware(reader, &mut system, problems)?;
            }
            _ => section(reader, &child, problems)?,
        }
    }
    Ok(system)
}

fn product(reader: &mut Reader<'_>, start: &Start<'_>) -> Result<Product, XmlError> {
    let mut product = Product::default();
    let info = &mut product.info;
    info.class_id = attribute(start, "class")?;
    info.instance_id = attribute(start, "instance")?;
    let mut category = None;
    while let Some(child) = reader.next_child()? {
        match child.local() {
            "Product" => info.name = Some(reader.text()?.into_owned()),
            "Vendor" => info.vendor = Some(reader.text()?.into_owned()),
            "Version" => info.version = Some(reader.text()?.into_owned()),
            "FullVersion" => info.full_version = Some(reader.text()?.into_owned()),
            "ProductUrl" => info.product_url = Some(reader.text()?.into_owned()),
            "VendorUrl" => info.vendor_url = Some(reader.text()?.into_owned()),
            "AppUrl" => info.app_url = Some(reader.text()?.into_owned()),
            "Category" => category = Some(reader.text()?.into_owned()),
            "Property" => {
                let value = attribute(&child, "value")?;
                let property = t::VAppPropertyInfo {
                    key: i32::try_from(product.properties.len()).unwrap_or(i32::MAX),
                    class_id: info.class_id.clone(),
                    instance_id: info.instance_id.clone(),
                    id: attribute(&child, "key")?,
                    category: category.clone(),
                    r#type: attribute(&child, "type")?,
                    user_configurable: Some(is_true(attribute(&child, "userConfigurable")?.as_deref())),
                    default_value: value.clone(),
                    value: value.or(Some(String::new())),
                    ..Default::default()
                };
                let texts = texts(reader)?;
                product.properties.push(t::VAppPropertyInfo {
                    label: Some(texts.get("Label")),
                    description: Some(texts.get("Description")),
                    ..property
                });
            }
            _ => reader.skip()?,
        }
    }
    Ok(product)
}

fn hardware(reader: &mut Reader<'_>, system: &mut System, problems: &mut Problems) -> Result<(), XmlError> {
    while let Some(child) = reader.next_child()? {
        match child.local() {
            "Info" => reader.skip()?,
            "System" => system.family = texts(reader)?.get("VirtualSystemType"),
            "Item" | "StorageItem" | "EthernetPortItem" => {
                let item = item(reader, &child, problems)?;
                system.items.push(item);
            }
            "Config" => {
                let (key, value) = (attribute(&child, "key")?, attribute(&child, "value")?);
                let required = attribute(&child, "required")?.as_deref() != Some("false");
                system.settings.push((key.unwrap_or_default(), value.unwrap_or_default(), required));
                reader.skip()?;
            }
            "ExtraConfig" => {
                let (key, value) = (attribute(&child, "key")?, attribute(&child, "value")?);
                system.extra.push((key.unwrap_or_default(), value.unwrap_or_default()));
                reader.skip()?;
            }
            other => {
                problems.ignored(other, "it is not understood");
                reader.skip()?;
            }
        }
    }
    Ok(())
}

fn item(reader: &mut Reader<'_>, start: &Start<'_>, problems: &mut Problems) -> Result<Item, XmlError> {
    let mut item = Item {
        required: attribute(start, "required")?.as_deref() != Some("false"),
        options: attribute(start, "configuration")?.unwrap_or_default(),
        ..Item::default()
    };
    if attribute(start, "bound")?.is_some() {
        // A limit for what may be chosen, beside the item that says what is usual.
        reader.skip()?;
        return Ok(Item { kind: Item::BOUND, ..item });
    }
    while let Some(child) = reader.next_child()? {
        let name = child.local();
        match name {
            "Config" => {
                let required = attribute(&child, "required")?.as_deref() != Some("false");
                item.settings.push((attribute(&child, "key")?.unwrap_or_default(), required));
                reader.skip()?;
            }
            "AutomaticAllocation"
            | "AutomaticDeallocation"
            | "Caption"
            | "ChangeableType"
            | "ConfigurationName"
            | "ConsumerVisibility"
            | "Description"
            | "Generation"
            | "MappingBehavior"
            | "OtherResourceType"
            | "PoolID" => reader.skip()?,
            "Limit" | "Reservation" | "Weight" => {
                problems.ignored(name, "resources are not reserved here");
                reader.skip()?;
            }
            _ if Item::KNOWN.contains(&name) => {
                let text = reader.text()?.trim().to_owned();
                item.take(name, text, problems);
            }
            _ => {
                problems.ignored(name, "it is not understood");
                reader.skip()?;
            }
        }
    }
    Ok(item)
}

impl Item {
    /// Stands for an item that is only a limit.
    pub(super) const BOUND: i32 = -1;

    const KNOWN: [&str; 13] = [
        "ElementName",
        "InstanceID",
        "ResourceType",
        "ResourceSubType",
        "Address",
        "AddressOnParent",
        "Parent",
        "HostResource",
        "Connection",
        "VirtualQuantity",
        "VirtualQuantityUnits",
        "AllocationUnits",
        "CoresPerSocket",
    ];

    fn take(&mut self, name: &str, text: String, problems: &mut Problems) {
        let number = |problems: &mut Problems| {
            let number = text.parse().ok();
            if number.is_none() {
                problems.bad_value(name, &text, "is no number");
            }
            number
        };
        match name {
            "ElementName" => self.name = text,
            "InstanceID" => self.instance = text,
            "ResourceType" => self.kind = number(problems).unwrap_or_default(),
            "ResourceSubType" => self.subtype = text,
            "Address" => self.address = text.parse().ok(),
            "AddressOnParent" => self.address_on_parent = number(problems),
            "Parent" => self.parent = Some(text),
            "HostResource" => self.resources.push(text),
            "Connection" => self.connections.push(text),
            "VirtualQuantity" => {
                self.quantity = text.parse().ok();
                if self.quantity.is_none() {
                    problems.bad_value(name, &text, "is no quantity");
                }
            }
            "AllocationUnits" => self.units = text,
            "CoresPerSocket" => self.cores_per_socket = number(problems),
            // What `AllocationUnits` was called once.
            "VirtualQuantityUnits" if self.units.is_empty() => self.units = text,
            _ => {}
        }
    }
}

/// A section that is not understood: an error if the package says that it has to be.
fn section(reader: &mut Reader<'_>, start: &Start<'_>, problems: &mut Problems) -> Result<(), XmlError> {
    let name = start.local();
    // Sections are required unless they say otherwise; these change nothing about the machine.
    let harmless = ["StartupSection", "ResourceAllocationSection", "InstallSection", "IpAssignmentSection"];
    let required = attribute(start, "required")?.as_deref() != Some("false") && !harmless.contains(&name);
    let base = t::OvfUnsupportedElement { name: name.to_owned(), ..Default::default() };
    let value = t::OvfUnsupportedSection { base, info: String::new() };
    problems.unless(required, value, format!("The section {name} is not supported."));
    reader.skip()
}

/// The children of an element that hold nothing but text.
struct Texts(Vec<(String, String)>);

impl Texts {
    fn get(&self, name: &str) -> String {
        self.0.iter().find(|(found, _)| found == name).map(|(_, text)| text.clone()).unwrap_or_default()
    }
}

fn texts(reader: &mut Reader<'_>) -> Result<Texts, XmlError> {
    let mut found = Vec::new();
    while let Some(child) = reader.next_child()? {
        found.push((child.local().to_owned(), reader.text()?.into_owned()));
    }
    Ok(Texts(found))
}

fn attribute(start: &Start<'_>, name: &str) -> Result<Option<String>, XmlError> {
    Ok(start.attribute_local(name)?.map(std::borrow::Cow::into_owned))
}

fn is_true(text: Option<&str>) -> bool {
    matches!(text, Some("true" | "1"))
}

/// So many units in bytes: `byte * 2^20`, `byte * 1024`, and the older `MegaBytes`.
pub(super) fn bytes(count: u64, units: &str) -> Option<u64> {
    let units = units.trim();
    let unit = match units.to_ascii_lowercase().as_str() {
        "" | "byte" | "bytes" => 1,
        "kilobytes" => 1 << 10,
        "megabytes" => 1 << 20,
        "gigabytes" => 1 << 30,
        "terabytes" => 1 << 40,
        other => other.strip_prefix("byte")?.split('*').skip(1).try_fold(1_u64, |product, factor| {
            let factor = match factor.split_once('^') {
                Some((base, exponent)) => {
                    base.trim().parse::<u64>().ok()?.checked_pow(exponent.trim().parse().ok()?)?
                }
                None => factor.trim().parse().ok()?,
            };
            product.checked_mul(factor)
        })?,
    };
    count.checked_mul(unit)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn units() {
        for (units, expected) in [
            ("", Some(3)),
            ("byte", Some(3)),
            ("byte * 2^20", Some(3 << 20)),
            ("byte*1024*1024", Some(3 << 20)),
            ("MegaBytes", Some(3 << 20)),
            ("byte * 2^63", None),
            ("byte * 2^9999", None),
            ("byte * x", None),
            ("hertz * 10^6", None),
        ] {
            assert_eq!(bytes(3, units), expected, "{units}");
        }
    }
}
