//! The lookup service: where the services of this vCenter are. It is asked without a session.

use std::sync::Arc;

use bytes::Bytes;
use vim_api::soap;
use vim_api::xml::{Limits, NS_XSI, Reader, Service, XmlError};

use crate::fault::{Outcome, invalid_request};
use crate::wire::{self, Call};
use crate::world::{LookupEntry, Shared};

const NS_LOOKUP: &str = "urn:lookup";
const SITE: &str = "default-site";

/// Answers a call. `false`: the answer is a fault.
pub(super) fn answer(shared: &Arc<Shared>, body: Bytes) -> (bool, String) {
    let version = shared.settings.version;
    let answered = Call::parse(body, Service::Vim25, version).and_then(|call| {
        let content = carry_out(&shared.settings.sts, &call)?;
        Ok(soap::envelope_in(NS_LOOKUP, "", &format!("{}Response", call.method), &[&content]))
    });
    match answered {
        Ok(answer) => (true, answer),
        Err(fault) => (false, wire::fault_envelope(&fault, version)),
    }
}

fn carry_out(sts: &LookupEntry, call: &Call) -> Outcome<String> {
    match (call.this.type_name(), call.method.as_str()) {
        ("LookupServiceInstance", "RetrieveServiceContent") => Ok("<returnval>\
            <lookupService type=\"LookupLookupService\">lookupService</lookupService>\
            <serviceRegistration type=\"LookupServiceRegistration\">ServiceRegistration</serviceRegistration>\
            <deploymentInformationService type=\"LookupDeploymentInformationService\">deploymentInformationService\
            </deploymentInformationService><l10n type=\"LookupL10n\">l10n</l10n></returnval>"
            .to_owned()),
        ("LookupServiceRegistration", "GetSiteId") => Ok(format!("<returnval>{SITE}</returnval>")),
        ("LookupServiceRegistration", "List") => {
            let filter = call.raw("filterCriteria");
            let filter = filter.ok_or_else(|| invalid_request("A filter has to be given."))?;
            let wanted = service_type(filter).map_err(|error| invalid_request(error.to_string()))?;
            let registrations = registrations(sts);
            let fitting = registrations.iter().filter(|(kind, _)| wanted.is_empty() || wanted == *kind);
            Ok(fitting.map(|(_, registration)| registration.as_str()).collect())
        }
        _ => Err(invalid_request(format!("{} is not supported here.", call.method))),
    }
}

/// `serviceType.type`. Endpoint types are left to the client: a service is listed with all its endpoints.
fn service_type(filter: &str) -> Result<String, XmlError> {
    let mut reader = Reader::fragment(filter, Limits::default())?;
    let mut wanted = String::new();
    reader.next_child()?;
    while let Some(part) = reader.next_child()? {
        if part.local() != "serviceType" {
            reader.skip()?;
            continue;
        }
        while let Some(kind) = reader.next_child()? {
            match kind.local() {
                "type" => wanted = reader.text()?.into_owned(),
                _ => reader.skip()?,
            }
        }
    }
    Ok(wanted)
}

/// Types of services, and what is registered of them.
fn registrations(sts: &LookupEntry) -> [(&'static str, String); 2] {
    let service = |kind: &str, endpoints: &str| {
        format!(
            "<returnval xmlns:xsi=\"{NS_XSI}\"><serviceVersion>2.0</serviceVersion>{endpoints}<ownerId>a@vsphere.local</ownerId>\
             <serviceType><product>com.vmware.cis</product><type>{kind}</type></serviceType>\
             <serviceId>{SITE}:{kind}</serviceId><siteId>{SITE}</siteId></returnval>"
        )
    };
    let endpoint = |protocol: &str, kind: &str, url: &str| {
        format!(
            "<serviceEndpoints><url>{url}</url><endpointType><protocol>{protocol}</protocol><type>{kind}</type></endpointType>\
             <sslTrust>{}</sslTrust></serviceEndpoints>",
            sts.certificate
        )
    };
    let admin = sts.url.replace("/sts/STSService/", "/sso-adminserver/sdk/");
    let identity = endpoint("vmomi", "com.vmware.cis.cs.identity.admin", &admin)
        + &endpoint("wsTrust", "com.vmware.cis.cs.identity.sso", &sts.url);
    [
        ("cs.identity", service("cs.identity", &identity)),
        ("vcenterserver", service("vcenterserver", &endpoint("vmomi", "com.vmware.vim", &sts.url))),
    ]
}
