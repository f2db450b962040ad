//! Names, versions and licenses.

use vim_api::ApiVersion;
use vim_api::dynamic::{Element, Value};
use vim_api::types as t;

/// The first release that speaks a version of the API: that version, the product's, and the builds of vCenter and ESXi.
const RELEASES: &[(&str, &str, &str, &str)] = &[
    ("6.7", "6.7.0", "8217866", "8169922"),
    ("6.7.1", "6.7.0", "10244745", "10302608"),
    ("6.7.2", "6.7.0", "13010631", "13006603"),
    ("6.7.3", "6.7.0", "14367737", "14320388"),
    ("7.0.0.0", "7.0.0", "15952498", "15843807"),
    ("7.0.1.0", "7.0.1", "16860138", "16850804"),
    ("7.0.2.0", "7.0.2", "17694817", "17630552"),
    ("7.0.3.0", "7.0.3", "18700403", "18644231"),
    ("8.0.0.0", "8.0.0", "20519528", "20513097"),
    ("8.0.1.0", "8.0.1", "21560480", "21495797"),
    ("8.0.2.0", "8.0.2", "22385739", "22380479"),
    ("8.0.3.0", "8.0.3", "24022515", "24022510"),
    ("9.0.0.0", "9.0.0", "24755230", "24755229"),
    // Later builds are not known to us: these are made up.
    ("9.1.0.0", "9.1.0", "25000001", "25000000"),
    ("9.1.1.0", "9.1.1", "25100001", "25100000"),
];

/// The newest release that is not newer than the version; the oldest for what is older still.
fn release(version: ApiVersion) -> (&'static str, &'static str, &'static str) {
    let spoken =
        |(id, ..): &&(&str, &str, &str, &str)| ApiVersion::parse(id).is_some_and(|known| known <= version);
    let (_, product, center, host) = RELEASES.iter().rev().find(spoken).unwrap_or(&RELEASES[0]);
    (product, center, host)
}

/// Licenses are of whole versions; those of 6.x say 6.0.
fn license_version(product: &str) -> String {
    format!("{}.0", product.split('.').next().unwrap_or_default())
}

/// A vCenter.
pub(super) fn center(instance_uuid: &str, version: ApiVersion) -> t::AboutInfo {
    let (product, build, _) = release(version);
    t::AboutInfo {
        name: "VMware vCenter Server".to_owned(),
        full_name: format!("VMware vCenter Server {product} build-{build} (vsphere-sim)"),
        vendor: "VMware, Inc.".to_owned(),
        version: product.to_owned(),
        patch_level: Some("00000".to_owned()),
        build: build.to_owned(),
        locale_version: Some("INTL".to_owned()),
        locale_build: Some("000".to_owned()),
        os_type: "linux-x64".to_owned(),
        product_line_id: "vpx".to_owned(),
        api_type: "VirtualCenter".to_owned(),
        api_version: version.id().to_owned(),
        instance_uuid: Some(instance_uuid.to_owned()),
        license_product_name: Some("VMware VirtualCenter Server".to_owned()),
        license_product_version: Some(license_version(product)),
        ..Default::default()
    }
}

/// A host.
pub(super) fn host(version: ApiVersion) -> t::AboutInfo {
    let (product, _, build) = release(version);
    t::AboutInfo {
        name: "VMware ESXi".to_owned(),
        full_name: format!("VMware ESXi {product} build-{build} (vsphere-sim)"),
        vendor: "VMware, Inc.".to_owned(),
        version: product.to_owned(),
        patch_level: Some("0".to_owned()),
        build: build.to_owned(),
        locale_version: Some("INTL".to_owned()),
        locale_build: Some("000".to_owned()),
        os_type: "vmnix-x86".to_owned(),
        product_line_id: "embeddedEsx".to_owned(),
        api_type: "HostAgent".to_owned(),
        api_version: version.id().to_owned(),
        license_product_name: Some("VMware ESX Server".to_owned()),
        license_product_version: Some(license_version(product)),
        ..Default::default()
    }
}

/// A property of `LicenseManager`. The server is being evaluated, for as long as it likes.
pub(super) fn license_property(about: &t::AboutInfo, name: &str) -> Option<Value> {
    Some(match name {
        "source" => {
            t::EvaluationLicenseSource { remaining_hours: Some(1440), ..Default::default() }.to_value()
        }
        "sourceAvailable" => Value::Bool(true),
        "licensedEdition" => Value::String("eval".to_owned()),
        "licenses" => Value::array("LicenseManagerLicenseInfo", vec![license(about).to_value()]),
        "evaluation" => {
            t::LicenseManagerEvaluationInfo { properties: facts(about), ..Default::default() }.to_value()
        }
        _ => return None,
    })
}

/// The license by which everything runs here.
pub(super) fn license(about: &t::AboutInfo) -> t::LicenseManagerLicenseInfo {
    t::LicenseManagerLicenseInfo {
        license_key: "00000-00000-00000-00000-00000".to_owned(),
        edition_key: "eval".to_owned(),
        name: "Evaluation Mode".to_owned(),
        total: 0,
        used: Some(0),
        cost_unit: String::new(),
        properties: facts(about),
        ..Default::default()
    }
}

fn facts(about: &t::AboutInfo) -> Vec<t::KeyAnyValue> {
    let fact = |key: &str, value: Value| t::KeyAnyValue { key: key.to_owned(), value, ..Default::default() };
    let text = |text: &Option<String>| Value::String(text.clone().unwrap_or_default());
    vec![
        fact("ProductName", text(&about.license_product_name)),
        fact("ProductVersion", text(&about.license_product_version)),
        fact("expirationHours", Value::Int(1440)),
    ]
}

#[cfg(test)]
mod tests {
    use vim_api::ApiVersion;

    #[test]
    fn every_version_has_its_release() {
        for (id, product, ..) in super::RELEASES {
            let version = ApiVersion::parse(id).expect("a version of the API");
            assert_eq!(super::release(version).0, *product, "{id}");
        }
        let between = ApiVersion::parse("8.0.3.1").expect("a version of the API");
        assert_eq!(super::release(between).0, "8.0.3");
        assert_eq!(super::license_version("6.7.0"), "6.0");
        assert_eq!(super::release(ApiVersion::LATEST).0, "9.1.1");
    }
}
