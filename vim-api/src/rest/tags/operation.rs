use crate::percent;
use crate::rest::RestStyle;

/// An operation of the tagging service, which the two styles name differently.
#[derive(Clone, Copy)]
pub(super) struct Operation<'a> {
    resource: &'static str,
    id: Option<&'a str>,
    /// It is in the path of the old style only.
    old_id: Option<&'a str>,
    action: Option<&'static str>,
}

impl<'a> Operation<'a> {
    pub(super) fn on(resource: &'static str) -> Self {
        Self { resource, id: None, old_id: None, action: None }
    }

    pub(super) fn id(self, id: &'a str) -> Self {
        Self { id: Some(id), ..self }
    }

    pub(super) fn old_id(self, id: &'a str) -> Self {
        Self { old_id: Some(id), ..self }
    }

    pub(super) fn action(self, action: &'static str) -> Self {
        Self { action: Some(action), ..self }
    }

    pub(super) fn path(&self, style: RestStyle) -> String {
        let (service, mark, id) = match style {
            RestStyle::Api => ("cis/tagging", "", self.id),
            RestStyle::Rest => ("com/vmware/cis/tagging", "~", self.id.or(self.old_id)),
        };
        let mut path = format!("{service}/{}", self.resource);
        if let Some(id) = id {
            let mut encoded = String::new();
            percent::encode(id, &mut encoded);
            match style {
                RestStyle::Api => path.push_str(&format!("/{encoded}")),
                // The colons as all clients of these servers send them.
                RestStyle::Rest => path.push_str(&format!("/id:{}", encoded.replace("%3A", ":"))),
            }
        }
        if let Some(action) = self.action {
            path.push_str(&format!("?{mark}action={action}"));
        }
        path
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_style_has_its_paths() {
        let attach = Operation::on("tag-association").id("urn:a/b?c").action("attach");
        assert_eq!(attach.path(RestStyle::Api), "cis/tagging/tag-association/urn%3Aa%2Fb%3Fc?action=attach");
        assert_eq!(
            attach.path(RestStyle::Rest),
            "com/vmware/cis/tagging/tag-association/id:urn:a%2Fb%3Fc?~action=attach"
        );
        let list = Operation::on("tag").old_id("urn:c").action("list-tags-for-category");
        assert_eq!(list.path(RestStyle::Api), "cis/tagging/tag?action=list-tags-for-category");
        assert_eq!(
            list.path(RestStyle::Rest),
            "com/vmware/cis/tagging/tag/id:urn:c?~action=list-tags-for-category"
        );
        assert_eq!(Operation::on("category").path(RestStyle::Api), "cis/tagging/category");
    }
}
