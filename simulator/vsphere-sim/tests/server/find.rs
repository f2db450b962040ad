//! Objects by path, and machines by their identity.

use vim_api::{ErrorKind, IdentityConflict, MoRef, ResolvedBy, ServerIdentity, VmIdentity, mo};

use crate::{log_in, start};

#[tokio::test]
async fn paths_and_patterns() {
    let sim = start(3).await;
    let client = log_in(&sim).await;
    sim.vm("vm-3").unwrap().rename("web-3").unwrap();
    let paths = async |pattern: &str| -> Vec<String> {
        let found = client.find_all::<mo::VirtualMachine>(pattern).await.unwrap();
        found.into_iter().map(|found| found.path).collect()
    };
    assert_eq!(paths("/DC0/vm/vm-1").await, ["/DC0/vm/vm-1"]);
    assert_eq!(paths("/DC0/vm/vm-*").await, ["/DC0/vm/vm-1", "/DC0/vm/vm-2"]);
    assert_eq!(paths("/*/*/vm-[2-9]").await, ["/DC0/vm/vm-2"]);
    assert_eq!(paths("vm-?").await, ["/DC0/vm/vm-1", "/DC0/vm/vm-2"], "below the folder for machines");
    assert_eq!(paths("/.../web-3").await, ["/DC0/vm/web-3"]);
    assert_eq!(paths("/DC0/...").await.len(), 3);
    assert_eq!(paths("nobody").await, [""; 0]);
    assert_eq!(paths("/DC0/host/*").await, [""; 0], "a cluster is no machine");
    let cluster = client.find_one::<mo::ComputeResource>("*").await.unwrap();
    assert_eq!(cluster.object.type_name(), "ClusterComputeResource");
    let host = client.find_one::<mo::HostSystem>("*/*").await.unwrap();
    assert_eq!(client.path_of(&host.object).await.unwrap(), host.path);
    assert_eq!(client.path_of(&client.content().root_folder).await.unwrap(), "/");

    let several = client.find_one::<mo::VirtualMachine>("/DC0/vm/*").await.unwrap_err();
    assert_eq!(several.kind(), ErrorKind::Ambiguous);
    assert!(several.to_string().contains("/DC0/vm/vm-2"), "{several}");
    let none = client.find_one::<mo::VirtualMachine>("/DC0/vm/nobody").await.unwrap_err();
    assert!(none.is_not_found(), "{none}");
    for bad in ["", "../x", "/DC0/vm/[a", "**x"] {
        let refused = client.find_all::<mo::VirtualMachine>(bad).await.unwrap_err();
        assert_eq!(refused.kind(), ErrorKind::InvalidInput, "{bad}: {refused}");
    }
}

#[tokio::test]
async fn a_machine_is_found_again_after_it_was_registered_anew() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = sim.vm("vm-1").unwrap();
    let identity = client.identify(&vm.moref()).await.unwrap();
    assert_eq!(identity.path.as_deref(), Some("/DC0/vm/vm-1"));
    assert!(matches!(identity.server, ServerIdentity::VCenter(_)));
    let found = client.resolve(&identity).await.unwrap();
    assert_eq!((found.by, found.certain().unwrap()), (ResolvedBy::MoRef, vm.moref()));

    let again = sim.register(vm.unregister().unwrap());
    let found = client.resolve(&identity).await.unwrap();
    assert_eq!((found.by, found.certain().unwrap()), (ResolvedBy::InstanceUuid, again.moref()));

    // On another server the moRef is not believed, even if there happens to be one like it.
    let other = sim.vm("vm-2").unwrap();
    let elsewhere = VmIdentity {
        server: ServerIdentity::Host("a host".into()),
        moref: other.moref(),
        ..identity.clone()
    };
    assert_eq!(client.resolve(&elsewhere).await.unwrap().moref, again.moref());
    // Nor is it on its own server, when the machine behind it is another one.
    let reused = VmIdentity { moref: other.moref(), ..identity };
    let found = client.resolve(&reused).await.unwrap();
    assert_eq!((found.by, found.moref), (ResolvedBy::InstanceUuid, again.moref()));
}

#[tokio::test]
async fn conflicts_are_reported() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let vm = sim.vm("vm-1").unwrap();
    let identity = client.identify(&vm.moref()).await.unwrap();
    let instance = identity.instance_uuid.clone().unwrap();
    let bios = identity.bios_uuid.clone().unwrap();

    // A copy that was registered in place of the original: the same BIOS uuid, another instanceUuid.
    vm.set_uuids("11111111-0000-0000-0000-000000000000", &bios.to_uppercase()).unwrap();
    let found = client.resolve(&identity).await.unwrap();
    assert_eq!(found.by, ResolvedBy::BiosUuid);
    let [IdentityConflict::InstanceUuid { expected, .. }] = found.conflicts.as_slice() else {
        panic!("{:?}", found.conflicts)
    };
    assert_eq!(*expected, instance);
    let refused = found.certain().unwrap_err();
    assert!(refused.to_string().contains(&instance), "{refused}");

    // Both are others: only the place speaks for it.
    vm.set_uuids("11111111-0000-0000-0000-000000000000", "22222222-0000-0000-0000-000000000000").unwrap();
    let found = client.resolve(&identity).await.unwrap();
    assert_eq!((found.by, found.conflicts.len()), (ResolvedBy::Path, 2));

    // Two have it.
    vm.set_uuids(&instance, &bios).unwrap();
    sim.vm("vm-2").unwrap().set_uuids("33333333-0000-0000-0000-000000000000", &bios).unwrap();
    let by_bios = VmIdentity { instance_uuid: None, moref: MoRef::new("vm-999"), ..identity.clone() };
    assert_eq!(client.resolve(&by_bios).await.unwrap_err().kind(), ErrorKind::Ambiguous);
    assert!(client.resolve(&identity).await.unwrap().conflicts.is_empty());

    drop(vm.unregister().unwrap());
    let unknown = VmIdentity { bios_uuid: None, ..identity };
    let none = client.resolve(&unknown).await.unwrap_err();
    assert!(none.is_not_found() && none.to_string().contains(&instance), "{none}");
}
