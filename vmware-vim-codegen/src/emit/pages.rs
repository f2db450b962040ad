//! Where VMware describes an item.
//!
//! The rule: the reference has a page for each managed object, data object, fault, event and enumeration, called by its
//! inner name, and on the page an anchor for each property, field and method, called by its inner name too. An item whose
//! inner name the input does not tell has no link. Fields, parameters and values have no link of their own: they stand on
//! the page of what they belong to, and so does its link.

const REFERENCE: &str = "https://developer.broadcom.com/xapis/vsphere-web-services-api/latest";

/// A paragraph of a doc comment with the link to the page of `vmodl`; `indent` goes before each line.
pub(super) fn link(indent: &str, vmodl: Option<&str>) -> String {
    vmodl.map_or_else(String::new, |page| paragraph(indent, &format!("{REFERENCE}/{page}.html")))
}

/// The same with the place on the page that is about `member`.
pub(super) fn link_within(indent: &str, vmodl: Option<&str>, member: Option<&str>) -> String {
    match (vmodl, member) {
        (Some(page), Some(member)) => paragraph(indent, &format!("{REFERENCE}/{page}.html#{member}")),
        _ => link(indent, vmodl),
    }
}

fn paragraph(indent: &str, address: &str) -> String {
    format!("{indent}///\n{indent}/// [VMware's page]({address})\n")
}
