//! Servers of several versions of the API, and clients that are older than their server.

use vim_api::ApiVersion;
use vsphere_sim::{Builder, DiskSpec, ErrorKind, Sim, VmSpec};

use crate::MIB;
use crate::raw::{envelope, login, post, send};

async fn start(version: &str) -> (Sim, String) {
    let version = ApiVersion::parse(version).unwrap();
    let vm = VmSpec::new("vm-1").disk(DiskSpec::empty(MIB));
    let sim = Sim::builder().api_version(version).vm(vm).start().await.unwrap();
    let answer = send(&sim, &post("", &login(&sim))).await;
    let cookie = answer.lines().find_map(|line| line.strip_prefix("set-cookie: ")).unwrap().to_owned();
    (sim, cookie)
}

/// One call, by a client of the version that it names, if it names one.
async fn call(sim: &Sim, cookie: &str, version: Option<&str>, body: &str) -> String {
    let action = version.map(|version| format!("SOAPAction: \"urn:vim25/{version}\"\r\n"));
    let headers = format!("{}Cookie: {cookie}\r\n", action.unwrap_or_default());
    send(sim, &post(&headers, &envelope(body))).await
}

fn read(path: &str) -> String {
    format!(
        "<RetrievePropertiesEx xmlns=\"urn:vim25\"><_this type=\"PropertyCollector\">propertyCollector</_this>\
         <specSet><propSet><type>VirtualMachine</type><pathSet>{path}</pathSet></propSet>\
         <objectSet><obj type=\"VirtualMachine\">vm-101</obj></objectSet></specSet><options/></RetrievePropertiesEx>"
    )
}

fn is_fault(answer: &str, name: &str) -> bool {
    answer.starts_with("HTTP/1.1 500 ") && answer.contains(&format!("xsi:type=\"{name}\""))
}

/// The same machine, on servers of two versions and for clients of two.
#[tokio::test]
async fn what_is_newer_is_not_there() {
    let (old, old_cookie) = start("6.7").await;
    let (new, new_cookie) = start("9.1.0.0").await;
    let asked = [
        (&old, &old_cookie, None, false),
        (&old, &old_cookie, Some("9.1.0.0"), false),
        (&new, &new_cookie, Some("6.7"), false),
        (&new, &new_cookie, Some("9.1.0.0"), true),
        (&new, &new_cookie, None, true),
    ];
    for (sim, cookie, version, is_there) in asked {
        // A field of 8.0.0.1: in the whole, by its own path, and behind a list's key.
        let hardware = call(sim, cookie, version, &read("config.hardware")).await;
        assert!(hardware.contains("<numCPU>"), "{hardware}");
        assert_eq!(hardware.contains("<motherboardLayout>"), is_there, "{version:?}: {hardware}");
        let path = call(sim, cookie, version, &read("config.hardware.motherboardLayout")).await;
        assert_eq!(is_fault(&path, "InvalidProperty"), !is_there, "{version:?}: {path}");
        // A method of 7.0.2.0, and one that there always was.
        let body = |name: &str| {
            format!("<{name} xmlns=\"urn:vim25\"><_this type=\"HttpNfcLease\">lease-1</_this></{name}>")
        };
        let method = call(sim, cookie, version, &body("HttpNfcLeaseProbeUrls")).await;
        let wanted = if is_there { "ManagedObjectNotFound" } else { "MethodNotFound" };
        assert!(is_fault(&method, wanted), "{version:?}: {method}");
        let method = call(sim, cookie, version, &body("HttpNfcLeaseComplete")).await;
        assert!(is_fault(&method, "ManagedObjectNotFound"), "{version:?}: {method}");
    }
}

/// What is added to a method later is no parameter of it before.
#[tokio::test]
async fn a_newer_parameter_is_refused() {
    let (sim, cookie) = start("8.0.3.0").await;
    let body = "<FindByUuid xmlns=\"urn:vim25\"><_this type=\"SearchIndex\">SearchIndex</_this>\
                <uuid>0</uuid><vmSearch>true</vmSearch><instanceUuid>false</instanceUuid></FindByUuid>";
    // `instanceUuid` came with 4.0.
    assert!(call(&sim, &cookie, Some("4.0"), body).await.starts_with("HTTP/1.1 200 "));
    let refused = call(&sim, &cookie, Some("2.5"), body).await;
    assert!(refused.starts_with("HTTP/1.1 500 "), "{refused}");
}

#[tokio::test]
async fn release_hardware_and_list_go_with_the_version() {
    for (version, product, hardware, before) in [
        ("6.7", "6.7.0", "vmx-14", "6.5"),
        ("6.7.3", "6.7.0", "vmx-15", "6.7.2"),
        ("7.0.0.0", "7.0.0", "vmx-17", "6.9.1"),
        ("8.0.3.0", "8.0.3", "vmx-21", "8.0.2.0"),
        ("9.1.1.0", "9.1.1", "vmx-22", "9.1.0.0"),
    ] {
        let (sim, cookie) = start(version).await;
        let content = "<RetrieveServiceContent xmlns=\"urn:vim25\">\
                       <_this type=\"ServiceInstance\">ServiceInstance</_this></RetrieveServiceContent>";
        let about = call(&sim, &cookie, None, content).await;
        assert!(about.contains(&format!("<apiVersion>{version}</apiVersion>")), "{about}");
        assert!(about.contains(&format!("<version>{product}</version>")), "{about}");
        let config = call(&sim, &cookie, None, &read("config.version")).await;
        assert!(config.contains(&format!(">{hardware}</val>")), "{version}: {config}");
        let list =
            send(&sim, "GET /sdk/vimServiceVersions.xml HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                .await;
        let head = format!("<version>{version}</version><priorVersions><version>{before}</version>");
        assert!(list.contains(&head) && list.contains("<version>4.0</version></priorVersions>"), "{list}");
    }
}

#[tokio::test]
async fn other_versions_are_not_served() {
    let known: Vec<&str> = Builder::api_versions().map(ApiVersion::id).collect();
    assert_eq!((known.first().copied(), known.last().copied()), (Some("6.7"), Some("9.1.1.0")));
    assert!(known.iter().all(|id| !id.starts_with('m')), "{known:?}");
    let refused = Sim::builder().api_version(ApiVersion::parse("6.5").unwrap()).start().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::InvalidArgument);
    assert!(refused.to_string().contains("6.5") && refused.to_string().contains("7.0.3.0"), "{refused}");
}
