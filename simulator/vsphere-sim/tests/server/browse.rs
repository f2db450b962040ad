//! Browsing datastores.

use std::fs;

use vim_api::dynamic::Poly;
use vim_api::mo::{self, Managed};
use vim_api::{Client, DatastorePath, MoRef, types as t};
use vsphere_sim::{Generated, Sim};

use crate::{MIB, log_in, machine, start};

fn path(text: &str) -> DatastorePath {
    DatastorePath::new("datastore1", text).unwrap()
}

async fn browser(client: &Client) -> MoRef<mo::HostDatastoreBrowser> {
    let datastore = client.find_one::<mo::Datastore>("/DC0/datastore/datastore1").await.unwrap().object;
    client.bind(&datastore).require(mo::Datastore::BROWSER).await.unwrap()
}

fn names(results: &t::HostDatastoreBrowserSearchResults) -> Vec<&str> {
    results.file.iter().map(|file| file.path.as_str()).collect()
}

fn all_details() -> Option<Box<t::FileQueryFlags>> {
    Some(Box::new(t::FileQueryFlags {
        file_type: true,
        file_size: true,
        modification: true,
        file_owner: Some(true),
        ..Default::default()
    }))
}

async fn search(
    client: &Client,
    folder: &str,
    spec: &t::HostDatastoreBrowserSearchSpec,
) -> Result<t::HostDatastoreBrowserSearchResults, vim_api::Error> {
    let browser = client.bind(&browser(client).await);
    browser.search_datastore_task(folder, Some(spec)).await?.wait().await
}

fn disk_query(filter: Option<t::VmDiskFileQueryFilter>) -> Poly<t::FileQuery> {
    let details = t::VmDiskFileQueryFlags {
        disk_type: true,
        capacity_kb: true,
        hardware_version: true,
        controller_type: Some(true),
        disk_extents: Some(true),
        thin: Some(true),
        ..Default::default()
    };
    Poly::new(t::VmDiskFileQuery {
        filter: filter.map(Box::new),
        details: Some(Box::new(details)),
        ..Default::default()
    })
}

#[tokio::test]
async fn our_own_client_finds_machines_by_the_browser_of_their_datastore() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let browser = browser(&client).await;
    let found = client.browse(&browser, &path(""), &["*.vmx"]).await.unwrap();
    let paths: Vec<_> = found.iter().map(|entry| entry.path.to_string()).collect();
    assert_eq!(paths, ["[datastore1] vm-1/vm-1.vmx", "[datastore1] vm-2/vm-2.vmx"]);
    assert!(found.iter().all(|entry| entry.info.is::<t::VmConfigFileInfo>() && entry.modified.is_some()));
    let below = client.browse(&browser, &path("vm-1"), &["vm-?.vmdk"]).await.unwrap();
    assert!(below.len() == 1 && below[0].info.is::<t::VmDiskFileInfo>(), "{below:?}");
    let folders = client.browse(&browser, &path(""), &["vm-?"]).await.unwrap();
    assert!(folders.len() == 2 && folders.iter().all(vim_api::DatastoreEntry::is_folder), "{folders:?}");
    let missing = client.browse(&browser, &path("nothing"), &[]).await.unwrap_err();
    assert!(missing.is_not_found(), "{missing}");
    let elsewhere = DatastorePath::new("san-7", "").unwrap();
    let unknown = client.browse(&browser, &elsewhere, &[]).await.unwrap_err();
    assert!(unknown.fault::<t::InvalidDatastore>().is_some(), "{unknown}");

    let bound = client.bind(&browser);
    let datastores = bound.require(mo::HostDatastoreBrowser::DATASTORE).await.unwrap();
    assert_eq!(datastores.iter().map(MoRef::value).collect::<Vec<_>>(), ["datastore-11"]);
    let supported = bound.require(mo::HostDatastoreBrowser::SUPPORTED_TYPE).await.unwrap();
    assert!(supported.iter().any(|query| query.is::<t::TemplateConfigFileQuery>()) && supported.len() == 10);
    assert_eq!(mo::HostDatastoreBrowser::INFO.name, browser.type_name());
}

#[tokio::test]
async fn disks_are_told_with_what_they_are() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    machine(&client, &sim).create_snapshot_task("s", None, false, false).await.unwrap().wait().await.unwrap();
    let disks = client.datastore_disks("DC0");
    let (eager, ide) = (vim_api::types::VirtualDiskType::EagerZeroedThick, t::VirtualDiskAdapterType::Ide);
    disks.create(&path("vm-1/thick.vmdk"), MIB, eager, ide).await.unwrap();
    let live = sim.vm("vm-1").unwrap();
    live.with_live_disk(2000, |disk| disk.write_at(0, &[1; 100_000])).unwrap().unwrap();
    let look = async |filter| {
        let spec = t::HostDatastoreBrowserSearchSpec {
            query: vec![disk_query(filter)],
            details: all_details(),
            ..Default::default()
        };
        search(&client, "[datastore1] vm-1", &spec).await.unwrap()
    };
    let found = look(None).await;
    assert_eq!(names(&found), ["thick.vmdk", "vm-1-000001.vmdk", "vm-1.vmdk"]);
    assert_eq!(found.folder_path.as_deref(), Some("[datastore1] vm-1/"));
    assert_eq!(found.datastore.as_ref().map(MoRef::value), Some("datastore-11"));
    let told = |at: usize| found.file[at].downcast_ref::<t::VmDiskFileInfo>().unwrap();
    let thick = told(0);
    assert_eq!((thick.capacity_kb, thick.thin, thick.hardware_version), (Some(1024), Some(false), Some(21)));
    assert_eq!(thick.controller_type.as_deref(), Some("VirtualIDEController"));
    assert_eq!(thick.disk_extents, ["[datastore1] vm-1/thick-flat.vmdk"]);
    let base = told(2);
    assert_eq!((base.capacity_kb, base.thin), (Some(65536), Some(true)));
    assert_eq!(base.disk_type.as_deref(), Some("VirtualDiskFlatVer2BackingInfo"));
    assert_eq!(base.owner.as_deref(), Some("root"));
    let child = told(1);
    assert_eq!(child.capacity_kb, Some(65536));
    assert!(child.file_size >= Some(65536), "the data is counted: {child:?}");
    assert!(child.disk_extents[0].starts_with("[datastore1] vm-1/vm-1-000001-"), "{child:?}");

    let filter = |change: fn(&mut t::VmDiskFileQueryFilter)| {
        let mut filter = t::VmDiskFileQueryFilter::default();
        change(&mut filter);
        Some(filter)
    };
    for (filter, expected) in [
        (filter(|f| f.thin = Some(false)), &["thick.vmdk"][..]),
        (
            filter(|f| f.controller_type = vec!["VirtualSCSIController".to_owned()]),
            &["vm-1-000001.vmdk", "vm-1.vmdk"],
        ),
        (filter(|f| f.match_hardware_version = vec![7]), &[]),
        (filter(|f| f.encrypted = Some(true)), &[]),
        (filter(|f| f.disk_type = vec!["VirtualDiskSparseVer1BackingInfo".to_owned()]), &[]),
    ] {
        assert_eq!(names(&look(filter).await), expected);
    }
    // Without details, only what was asked for is told.
    let spec = t::HostDatastoreBrowserSearchSpec {
        query: vec![Poly::new(t::VmDiskFileQuery::default())],
        ..Default::default()
    };
    let bare = search(&client, "[datastore1] vm-1", &spec).await.unwrap();
    let disk = bare.file[0].downcast_ref::<t::VmDiskFileInfo>().unwrap();
    assert!(
        disk.capacity_kb.is_none() && disk.file_size.is_none() && disk.disk_extents.is_empty(),
        "{disk:?}"
    );
}

#[tokio::test]
async fn queries_patterns_and_order() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let host = |name: &str| sim.data_dir().join("datastores/datastore1/mix").join(name);
    fs::create_dir_all(host("zz/deep")).unwrap();
    fs::create_dir(host("Afolder")).unwrap();
    let names_of_files = [
        "b.log",
        "c.iso",
        "d.nvram",
        "e.vmsn",
        "f.vmtx",
        "g.flp",
        "h.txt",
        "broken.vmdk",
        "x-flat.vmdk",
        ".p.tmp",
    ];
    for name in names_of_files {
        fs::write(host(name), "config.version = \"8\"\n").unwrap();
    }
    fs::write(host("zz/deep/found.LOG"), "x").unwrap();
    std::os::unix::fs::symlink("/etc", host("etc")).unwrap();
    let spec = |queries: Vec<Poly<t::FileQuery>>| t::HostDatastoreBrowserSearchSpec {
        query: queries,
        details: all_details(),
        ..Default::default()
    };
    let look = async |spec: &_| search(&client, "[datastore1] mix", spec).await.unwrap();
    let all = look(&spec(Vec::new())).await;
    let expected = [
        "Afolder",
        "b.log",
        "broken.vmdk",
        "c.iso",
        "d.nvram",
        "e.vmsn",
        "f.vmtx",
        "g.flp",
        "h.txt",
        "x-flat.vmdk",
        "zz",
    ];
    assert_eq!(names(&all), expected);
    let types: Vec<_> = all.file.iter().map(|file| file.type_name().to_owned()).collect();
    let expected = [
        "FolderFileInfo",
        "VmLogFileInfo",
        "VmDiskFileInfo",
        "IsoImageFileInfo",
        "VmNvramFileInfo",
        "VmSnapshotFileInfo",
        "TemplateConfigFileInfo",
        "FloppyImageFileInfo",
        "FileInfo",
        "FileInfo",
        "FolderFileInfo",
    ];
    assert_eq!(types, expected);
    let first =
        look(&t::HostDatastoreBrowserSearchSpec { sort_folders_first: Some(true), ..spec(Vec::new()) }).await;
    assert_eq!(names(&first)[..3], ["Afolder", "zz", "b.log"]);

    let config = t::VmConfigFileQueryFlags { config_version: true, ..Default::default() };
    let config = t::VmConfigFileQuery { details: Some(Box::new(config)), ..Default::default() };
    let found = look(&spec(vec![Poly::new(config), Poly::new(t::VmLogFileQuery::default())])).await;
    assert_eq!(names(&found), ["b.log", "f.vmtx"]);
    assert_eq!(found.file[1].downcast_ref::<t::VmConfigFileInfo>().unwrap().config_version, Some(8));
    let plain =
        t::HostDatastoreBrowserSearchSpec { details: None, ..spec(vec![Poly::new(t::FileQuery::default())]) };
    let plain = look(&plain).await;
    assert!(plain.file.iter().all(|file| file.type_name() == "FileInfo" && file.file_size.is_none()));
    // With a query that knows disks, their data is not told beside them.
    let both = vec![Poly::new(t::FileQuery::default()), disk_query(None)];
    assert!(!names(&look(&spec(both)).await).contains(&"x-flat.vmdk"));

    let below = client.bind(&browser(&client).await);
    let logs = |any_case| t::HostDatastoreBrowserSearchSpec {
        match_pattern: vec!["*.log".to_owned()],
        search_case_insensitive: Some(any_case),
        ..Default::default()
    };
    for (any_case, deep) in [(false, 0), (true, 1)] {
        let task =
            below.search_datastore_sub_folders_task("[datastore1] mix", Some(&logs(any_case))).await.unwrap();
        let results = task.wait().await.unwrap();
        let folders: Vec<_> = results.iter().map(|found| found.folder_path.as_deref().unwrap()).collect();
        let expected = [
            "[datastore1] mix/",
            "[datastore1] mix/Afolder/",
            "[datastore1] mix/zz/",
            "[datastore1] mix/zz/deep/",
        ];
        assert_eq!(folders, expected, "no link is followed");
        assert_eq!((results[0].file.len(), results[3].file.len()), (1, deep));
    }
}

#[tokio::test]
async fn the_browser_deletes() {
    let sim: Sim = start(1).await;
    let client = log_in(&sim).await;
    let bound = client.bind(&browser(&client).await);
    let root = sim.data_dir().join("datastores/datastore1");
    let (thin, lsi) = (t::VirtualDiskType::Thin, t::VirtualDiskAdapterType::LsiLogic);
    client.datastore_disks("DC0").create(&path("d.vmdk"), MIB, thin, lsi).await.unwrap();
    bound.delete_file("[datastore1] d.vmdk").await.unwrap();
    assert!(!root.join("d.vmdk").exists() && !root.join("d-flat.vmdk").exists());
    fs::write(root.join("a.txt"), "").unwrap();
    bound.delete_file("[datastore1] a.txt").await.unwrap();
    let gone = bound.delete_file("[datastore1] a.txt").await.unwrap_err();
    assert!(gone.fault::<t::FileNotFound>().is_some(), "{gone}");
    for (kept, is_locked) in [("vm-1/vm-1.vmx", true), ("vm-1/vm-1.vmdk", true), ("vm-1", true), ("", false)]
    {
        let refused = bound.delete_file(&format!("[datastore1] {kept}")).await.unwrap_err();
        assert!(refused.fault::<t::FileFault>().is_some(), "{refused}");
        assert_eq!(refused.fault::<t::FileLocked>().is_some(), is_locked, "{refused}");
        assert!(root.join(kept).exists());
    }
}

#[tokio::test]
async fn a_datastore_is_listed_without_making_what_is_on_it() {
    let sim = Sim::builder().generate(Generated::new(5)).start().await.unwrap();
    let client = log_in(&sim).await;
    let spec = t::HostDatastoreBrowserSearchSpec { details: all_details(), ..Default::default() };
    let root = search(&client, "[datastore1]", &spec).await.unwrap();
    assert_eq!(names(&root), ["vm-1", "vm-2", "vm-3", "vm-4", "vm-5"]);
    assert!(root.file.iter().all(|file| file.is::<t::FolderFileInfo>() && file.modification.is_some()));
    let cookie = crate::folder::session(&sim).await;
    let page = crate::folder::ask(&sim, "GET", &crate::folder::url(""), &cookie, b"").await;
    assert!((1..=5).all(|number| page.text().contains(&format!(">vm-{number}/<"))), "{}", page.text());
    assert_eq!(crate::folder::names(&sim, ""), Vec::<String>::new(), "nothing is made");
    // Whoever looks further finds files.
    let inside = search(&client, "[datastore1] vm-3", &spec).await.unwrap();
    assert!(names(&inside).contains(&"vm-3.vmx"), "{inside:?}");
    assert_eq!(crate::folder::names(&sim, ""), ["vm-3"]);
    assert_eq!(names(&search(&client, "[datastore1]", &spec).await.unwrap()).len(), 5);
    let below = client.bind(&browser(&client).await);
    let all = below.search_datastore_sub_folders_task("[datastore1]", Some(&spec)).await.unwrap();
    assert_eq!(all.wait().await.unwrap().len(), 6);
}
