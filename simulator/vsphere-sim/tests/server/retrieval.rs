//! Inventories read page by page, whatever happens meanwhile.

use std::collections::BTreeSet;

use futures::StreamExt;
use vim_api::{Properties, Retrieval, mo};
use vsphere_sim::{DiskSpec, FaultRule, Sim, VmSpec};

use crate::{MIB, log_in, start};

type Vm = mo::VirtualMachine;

fn pages(client: &vim_api::Client) -> Retrieval<Vm> {
    client.list_pages::<Vm>(&client.content().root_folder.cast(), &["name"])
}

fn name(vm: &Properties<Vm>) -> String {
    vm.get("name").unwrap().unwrap()
}

#[tokio::test]
async fn pages_come_as_they_are_wanted() {
    let sim = start(7).await;
    let client = log_in(&sim).await;
    let mut retrieval = pages(&client).page(3);
    let before = client.requests_sent();
    let first = retrieval.next().await.unwrap().unwrap();
    // A view, what is in it, and one page; what is given back in the background may come to that.
    assert!(client.requests_sent() - before <= 4);
    assert_eq!(retrieval.remaining(), Some(6));
    let mut names = BTreeSet::from([name(&first)]);
    let rest: Vec<_> = retrieval.into_stream().collect().await;
    names.extend(rest.iter().map(|vm| name(vm.as_ref().unwrap())));
    assert_eq!((names.len(), rest.len()), (7, 6));
}

/// A server that sends less than it was asked for, and forgets the rest with the session.
#[tokio::test]
async fn a_session_lost_between_two_pages_loses_no_object_and_repeats_none() {
    let mut builder = Sim::builder().property_page(2);
    for number in 1..=9 {
        builder = builder.vm(VmSpec::new(&format!("vm-{number}")).disk(DiskSpec::empty(MIB)));
    }
    let sim = builder.start().await.unwrap();
    for lost_after in 0..9 {
        let client = log_in(&sim).await;
        let mut retrieval = pages(&client).page(5);
        let mut names = Vec::new();
        while let Some(vm) = retrieval.next().await.unwrap() {
            names.push(name(&vm));
            if names.len() == lost_after + 1 {
                sim.expire_sessions();
            }
        }
        let once: BTreeSet<&String> = names.iter().collect();
        assert_eq!((names.len(), once.len()), (9, 9), "lost after {lost_after}: {names:?}");
        client.close().await.unwrap();
    }
    // All at once goes the same way.
    let client = log_in(&sim).await;
    sim.add_fault(FaultRule::call("ContinueRetrievePropertiesEx", "NotAuthenticated").times(1, 1)).unwrap();
    let all = client.list::<Vm>(&client.content().root_folder.cast(), &["name"]).await.unwrap();
    assert_eq!(all.len(), 9);
}

#[tokio::test]
async fn a_machine_that_goes_meanwhile_is_left_out() {
    let sim = start(6).await;
    let client = log_in(&sim).await;
    let mut retrieval = pages(&client).page(2);
    let first = name(&retrieval.next().await.unwrap().unwrap());
    let gone = sim.vm("vm-6").unwrap();
    assert_ne!(first, "vm-6");
    drop(gone.unregister().unwrap());
    let mut names = vec![first];
    while let Some(vm) = retrieval.next().await.unwrap() {
        names.push(name(&vm));
    }
    names.sort();
    assert_eq!(names, ["vm-1", "vm-2", "vm-3", "vm-4", "vm-5"]);
}

#[tokio::test]
async fn what_is_not_read_to_its_end_is_given_back() {
    let mut builder = Sim::builder().property_page(1);
    for number in 1..=3 {
        builder = builder.vm(VmSpec::new(&format!("vm-{number}")).disk(DiskSpec::empty(MIB)));
    }
    let sim = builder.start().await.unwrap();
    let client = log_in(&sim).await;
    let mut retrieval = pages(&client);
    retrieval.next().await.unwrap().unwrap();
    // The rule strikes only if the client gives the rest back.
    sim.add_fault(FaultRule::call("CancelRetrievePropertiesEx", "NotSupported").times(1, 1)).unwrap();
    let before = client.requests_sent();
    drop(retrieval);
    let given_back = async {
        while client.requests_sent() == before {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(5), given_back).await.expect("nothing was sent");
}
