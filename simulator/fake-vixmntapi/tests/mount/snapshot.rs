//! A snapshot of a running machine of the simulator, as a backup would mount it.

use sim_store::guest::image::ImagePlan;
use vim_api::Client;
use vixdisklib::{ConnectOptions, ConnectParams, Credentials, VmSpec};
use vixmntapi::{Access, VolumeKind};
use vsphere_sim::{DiskSpec, Sim};

use crate::world::{MIB, World, kit, library, tree};

#[test]
fn a_running_machine_is_mounted_through_its_snapshot() {
    let world = World::new();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let plan = ImagePlan { seed: 3, files: 30, bytes_total: MIB, label: "web".to_owned() };
    let machine = vsphere_sim::VmSpec::new("web").disk(DiskSpec::image(64 * MIB, plan));
    let (sim, disk, snapshot, client) = runtime.block_on(async {
        let sim = Sim::builder().vm(machine).start().await.unwrap();
        let pin = sim.thumbprint_sha256().parse().unwrap();
        let client = Client::connect(&sim.url()).thumbprint(pin).await.unwrap();
        client.login(sim.user(), sim.password()).await.unwrap();
        // The path before the snapshot is that of the disk which the snapshot freezes.
        let disk = sim.vm("web").unwrap().disks().unwrap().remove(0);
        let vm = client.bind(&sim.vm("web").unwrap().moref());
        let task = vm.create_snapshot_task("mount", None, false, false).await.unwrap();
        (sim, disk, task.wait().await.unwrap(), client)
    });
    sim.install_vddk_entry(kit()).unwrap();
    let vm = sim.vm("web").unwrap();
    let manifest = vm.image_manifest(disk.key).unwrap();
    // The guest goes on after the snapshot, and wrecks its disk: the mount does not see it.
    vm.with_live_disk(disk.key, |disk| disk.write_at(MIB, &vec![0xff; 1 << 20])).unwrap().unwrap();

    let credentials = Credentials::Password { user: sim.user().to_owned(), password: sim.password().clone() };
    let spec = VmSpec::moref(vm.moref().value()).unwrap();
    let params = ConnectParams::remote(sim.host(), spec, credentials)
        .port(sim.port())
        .thumbprint(sim.thumbprint_sha1().parse().unwrap())
        .build()
        .unwrap();
    let options = ConnectOptions::new().read_only(true).snapshot(snapshot.value());
    let connection = library().connect(&params, options).unwrap();
    let mut set = world.mounting.open_disks(&connection, &[&disk.path], Access::ReadOnly).unwrap();
    let volumes = set.volumes().unwrap();
    let volume = volumes.get(0).unwrap();
    assert_eq!(volume.info().unwrap().kind, VolumeKind::Gpt);
    let mounted = volume.mount(Access::ReadOnly).unwrap();
    assert_eq!(tree(mounted.path()), manifest.files);
    drop(mounted);
    drop(volumes);
    set.close().unwrap();
    connection.close().unwrap();
    runtime.block_on(client.logout()).unwrap();
    world.assert_clean();
}
