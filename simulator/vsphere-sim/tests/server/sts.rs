//! Where the STS is: on the vCenter, or apart from it with a certificate of its own.

use vim_api::mo::{self, Managed};
use vim_api::{Client, ErrorKind};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::{connect, machine, start};

async fn start_apart() -> Sim {
    Sim::builder().vm(VmSpec::new("vm-1").disk(DiskSpec::empty(1 << 20))).sts_apart().start().await.unwrap()
}

#[tokio::test]
async fn the_lookup_service_names_the_path_on_the_vcenter_itself() {
    let sim = start(1).await;
    let client = connect(&sim).await;
    let found = client.discover_sts().await.unwrap();
    assert_eq!((found.host.as_str(), found.port), ("127.0.0.1", sim.port()));
    assert_eq!((found.path.as_str(), found.named), ("/sts/STSService/vsphere.local", true));
    let session = client.login_sso(sim.user(), sim.password()).await.unwrap();
    assert_eq!(session.user_name, sim.user());

    // By another of its names it is still the server that was asked: no word about a certificate is needed.
    let url = sim.url().replace("127.0.0.1", "localhost");
    let by_name = Client::connect(&url).ca(sim.ca_pem().as_bytes()).await.unwrap();
    assert_eq!(by_name.discover_sts().await.unwrap().host, "localhost");
    by_name.login_sso(sim.user(), sim.password()).await.unwrap();
}

#[tokio::test]
async fn an_sts_on_another_server_is_known_by_the_certificate_that_was_named() {
    let sim = start_apart().await;
    for client in
        [connect(&sim).await, Client::connect(&sim.url()).ca(sim.ca_pem().as_bytes()).await.unwrap()]
    {
        let lost = client.login_sso(sim.user(), sim.password()).await.unwrap_err();
        assert_eq!(lost.kind(), ErrorKind::NotVsphere, "there is none on the vCenter: {lost}");

        let found = client.discover_sts().await.unwrap();
        assert!(found.named && found.port != sim.port(), "{found:?}");
        client.login_sso(sim.user(), sim.password()).await.unwrap();
        // Clones know it, too, and a renewal asks the same STS.
        sim.expire_sessions();
        let vm = machine(&client.clone(), &sim);
        assert_eq!(vm.require(mo::VirtualMachine::NAME).await.unwrap(), "vm-1");
        assert_eq!(client.session_generation(), 2);
        client.close().await.unwrap();
    }
}

#[tokio::test]
async fn who_checks_no_certificate_is_sent_to_no_other_server() {
    let sim = start_apart().await;
    let careless = Client::connect(&sim.url()).danger().accept_any_certificate().await.unwrap();
    let refused = careless.discover_sts().await.unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::Protocol);
    assert!(refused.to_string().contains("connect with a thumbprint or a CA"), "{refused}");

    let sim = start(1).await;
    let careless = Client::connect(&sim.url()).danger().accept_any_certificate().await.unwrap();
    assert_eq!(careless.discover_sts().await.unwrap().port, sim.port());
    careless.login_sso(sim.user(), sim.password()).await.unwrap();
}
