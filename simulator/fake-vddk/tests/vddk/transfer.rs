//! Reading and writing, as bytes and as sectors, one disk and many.

use sim_store::state::FaultRule;
use sim_store::{Disk, DiskSpec};
use vixdisklib::{
    Adapter, ByteOffset, ConnectOptions, ConnectParams, ErrorKind, IoMode, OpenOptions, Sectors,
    TransportMode,
};

use super::world::{CAPACITY, FROZEN, World, library, pattern};

const MODES: [IoMode; 2] = [IoMode::Sync, IoMode::Async];

#[test]
fn a_snapshot_reads_as_the_store_has_it() {
    let world = World::new();
    for mode in MODES {
        // Small requests, so that one transfer is many.
        let options = OpenOptions::read_only().io_mode(mode).max_request(64 << 10).queue_depth(3);
        let disk = world.connect_to_snapshot().open(FROZEN, options).unwrap();
        assert_eq!(disk.capacity().bytes(), Some(CAPACITY));
        let mut whole = vec![0xEE; CAPACITY as usize];
        disk.read(Sectors::ZERO, &mut whole).unwrap();
        assert!(whole == world.stored("on", 0, CAPACITY as usize), "{mode:?}");
        assert!(whole[1 << 20..2 << 20] == pattern(1, 1 << 20));
        let mut odd = vec![0; 3001];
        disk.read_at(ByteOffset((1 << 20) + 77), &mut odd).unwrap();
        assert_eq!(odd, whole[(1 << 20) + 77..][..3001]);
        disk.read(Sectors(3), &mut []).unwrap();
        disk.close().unwrap();
    }
}

#[test]
fn what_is_written_is_in_the_store() {
    for mode in MODES {
        let world = World::new();
        let disk = world.open_off(OpenOptions::read_write().io_mode(mode).max_request(4096));
        let bytes = pattern(9, 100 * 512);
        disk.write(Sectors(11), &bytes).unwrap();
        disk.write_at(ByteOffset(4 << 20), &bytes).unwrap();
        disk.flush().unwrap();
        disk.close().unwrap();
        assert!(world.stored("off", 11 * 512, bytes.len()) == bytes);
        assert!(world.stored("off", 4 << 20, bytes.len()) == bytes);
        assert!(world.stored("off", 0, 512).iter().all(|byte| *byte == 0));
    }
}

#[test]
fn bad_requests_are_refused_on_this_side() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only());
    let kind = |result: vixdisklib::Result<()>| {
        let error = result.unwrap_err();
        assert_eq!(error.code(), None);
        error.kind()
    };
    let last = disk.capacity().0;
    assert_eq!(kind(disk.read(Sectors(last), &mut [0; 512])), ErrorKind::OutOfRange);
    assert_eq!(kind(disk.read(Sectors(u64::MAX), &mut [0; 512])), ErrorKind::OutOfRange);
    assert_eq!(kind(disk.read_at(ByteOffset(u64::MAX - 3), &mut [0; 8])), ErrorKind::OutOfRange);
    assert_eq!(kind(disk.read(Sectors(0), &mut [0; 100])), ErrorKind::InvalidArgument);
    assert_eq!(kind(disk.write(Sectors(0), &[0; 512])), ErrorKind::ReadOnly);
    let disk = world.open_off(OpenOptions::read_write());
    assert_eq!(kind(disk.write_at(ByteOffset(1), &[0; 512])), ErrorKind::InvalidArgument);
}

#[test]
fn a_short_read_is_an_error_and_not_a_success() {
    let world = World::new();
    for (mode, function) in [(IoMode::Sync, "Read"), (IoMode::Async, "Read"), (IoMode::Async, "ReadAsync")] {
        let disk = world.open_off(OpenOptions::read_only().io_mode(mode).max_request(4096).queue_depth(1));
        let rule = FaultRule {
            function: function.to_owned(),
            nth: Some(2),
            code: 14005,
            partial: true,
            ..FaultRule::default()
        };
        world.faults(&[rule]);
        let mut buffer = vec![0; 8 * 4096];
        let error = disk.read(Sectors(2048), &mut buffer).unwrap_err();
        assert_eq!((error.code(), error.kind()), (Some(14005), ErrorKind::OutOfRange));
        // The piece that failed is named, not the transfer's beginning.
        assert_eq!(error.subject(), Some("[ds] off/off.vmdk at sector 2056"));
        assert!(buffer[4096..6144] == pattern(1, 8 * 4096)[4096..6144]);
        assert!(buffer[6144..8192].iter().all(|byte| *byte == 0));
        // The rule struck once: the same transfer works now.
        disk.read(Sectors(2048), &mut buffer).unwrap();
        assert!(buffer == pattern(1, 8 * 4096));
    }
}

#[test]
fn a_lost_connection_is_told_apart() {
    let world = World::new();
    let disk = world.open_off(OpenOptions::read_only());
    world.faults(&[FaultRule {
        function: "Read".to_owned(),
        code: 0x7_0000_0000 | 14011,
        ..FaultRule::default()
    }]);
    let error = disk.read(Sectors(0), &mut [0; 512]).unwrap_err();
    assert!(error.is_connection_lost() && !error.is_retryable());
    let upper = (u64::from(crate::SETUP.upper_bits) | 7) << 32;
    assert_eq!((error.code(), error.raw()), (Some(14011), Some(upper | 14011)));
}

#[test]
fn many_disks_work_side_by_side() {
    let world = World::new();
    let sizes: Vec<u64> = (1..=12).map(|number| number << 18).collect();
    std::thread::scope(|scope| {
        for (number, size) in sizes.into_iter().enumerate() {
            let folder = world.data.path();
            scope.spawn(move || {
                let path = folder.join(format!("disk{number}.vmdk"));
                drop(Disk::create(&path, &DiskSpec::thin(size)).unwrap());
                let connection = library().connect(&ConnectParams::local(), ConnectOptions::new()).unwrap();
                let options = OpenOptions::read_write().io_mode(MODES[number % 2]).max_request(16 << 10);
                let disk = connection.open(path.to_str().unwrap(), options).unwrap();
                let bytes = pattern(number as u8, size as usize);
                disk.write(Sectors::ZERO, &bytes).unwrap();
                let mut back = vec![0; bytes.len()];
                disk.read(Sectors::ZERO, &mut back).unwrap();
                assert!(back == bytes, "disk {number}");
                disk.close().unwrap();
                connection.close().unwrap();
            });
        }
    });
}

#[test]
fn one_disk_serves_many_threads() {
    let world = World::new();
    let expected = &pattern(1, 1 << 20);
    for mode in MODES {
        let disk = world.open_off(OpenOptions::read_only().io_mode(mode).queue_depth(2));
        std::thread::scope(|scope| {
            for thread in 0..8u64 {
                let disk = &disk;
                scope.spawn(move || {
                    for round in 0..50 {
                        let sector = 2048 + (thread * 50 + round) % 1024;
                        let mut buffer = [0; 1024];
                        disk.read(Sectors(sector), &mut buffer).unwrap();
                        let at = (sector as usize - 2048) * 512;
                        assert!(buffer == expected[at..at + 1024]);
                    }
                });
            }
        });
    }
}

#[test]
fn a_disk_says_what_it_is() {
    let world = World::new();
    let disk = world.connect("vm-101").open(super::world::LIVE, OpenOptions::read_only()).unwrap();
    let info = disk.info();
    assert_eq!((info.capacity.bytes(), info.links, info.adapter), (Some(CAPACITY), 2, Adapter::LsiLogic));
    let sectors = super::setup::is_at_least(fake_vddk::Release::V7_0).then_some(512);
    assert_eq!((info.logical_sector_bytes, info.physical_sector_bytes), (sectors, sectors));
    assert!(info.parent.as_deref().is_some_and(|parent| parent.ends_with("on.vmdk")), "{info:?}");
    assert!(info.uuid.as_deref().is_some_and(|uuid| uuid.starts_with("60 00 C2 9")), "{info:?}");
    assert!(info.bios_geometry.cylinders > 0);
    assert_eq!(disk.transport_mode(), &TransportMode::NbdSsl);
    let base = world.connect("vm-201").open(super::world::OFF, OpenOptions::read_only()).unwrap();
    assert_eq!((base.info().links, base.info().parent.as_deref()), (1, None));
}

#[test]
fn a_linked_clone_is_read_through_links_of_another_folder() {
    let world = World::new();
    let (parent, child) = (world.host_path("on"), world.host_path("off"));
    let root = world.data.path().join("ds");
    sim_store::volumes::add(&root, "0c1d-ds").unwrap();
    sim_store::delete(&child).unwrap();
    let uuid = sim_store::DiskUuid::random().unwrap();
    sim_store::elsewhere::create_child(&parent, &child, uuid).unwrap();
    let before = world.stored("on", 0, CAPACITY as usize);
    let disk = world.open_off(OpenOptions::read_write());
    let mut whole = vec![0xEE; CAPACITY as usize];
    disk.read(Sectors::ZERO, &mut whole).unwrap();
    assert!(whole == before);
    disk.write(Sectors(7), &pattern(3, 512)).unwrap();
    disk.close().unwrap();
    assert!(world.stored("on", 0, CAPACITY as usize) == before, "the parent has changed");
    assert_eq!(world.stored("off", 7 * 512, 512), pattern(3, 512));
}
