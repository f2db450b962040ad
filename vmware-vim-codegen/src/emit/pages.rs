//! Where VMware describes an item.
//!
//! The rule: the reference of a service has a page for each managed object, data object, fault, event and enumeration, called by its
//! inner name, and on the page an anchor for each property, field and method, called by its inner name too. An item whose
//! inner name the input does not tell has no link. Fields, parameters and values have no link of their own: they stand on
//! the page of what they belong to, and so does its link.

const REFERENCES: &str = "https://developer.broadcom.com/xapis";

/// The references of the services, by the first word of an inner name.
fn reference(vmodl: &str) -> &'static str {
    match vmodl.split('.').next() {
        Some("pbm") => "vmware-storage-policy-api",
        Some("vslm") => "virtual-storage-lifecycle-management-api",
        _ => "vsphere-web-services-api",
    }
}

/// A paragraph of a doc comment with the link to the page of `vmodl`; `indent` goes before each line.
pub(super) fn link(indent: &str, vmodl: Option<&str>) -> String {
    vmodl.map_or_else(String::new, |page| {
        paragraph(indent, &format!("{REFERENCES}/{}/latest/{page}.html", reference(page)))
    })
}

/// The same with the place on the page that is about `member`.
pub(super) fn link_within(indent: &str, vmodl: Option<&str>, member: Option<&str>) -> String {
    match (vmodl, member) {
        (Some(page), Some(member)) => {
            paragraph(indent, &format!("{REFERENCES}/{}/latest/{page}.html#{member}", reference(page)))
        }
        _ => link(indent, vmodl),
    }
}

fn paragraph(indent: &str, address: &str) -> String {
    format!("{indent}///\n{indent}/// [VMware's page]({address})\n")
}
