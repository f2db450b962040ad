//! Methods that are barred on a machine for a while, asked for as the clients that do it ask.

use secrecy::ExposeSecret;
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vsphere_sim::Sim;

use crate::raw::{envelope, post, send};
use crate::{log_in, machine, start};

/// The answer to a call of `AuthorizationManager` that the schema does not have.
async fn ask(sim: &Sim, cookie: &str, method: &str, arguments: &str) -> String {
    let body = envelope(&format!(
        "<v:{method} xmlns:v=\"urn:internalvim25\"><v:_this type=\"AuthorizationManager\">AuthorizationManager</v:_this>\
         {arguments}</v:{method}>"
    ));
    let headers = format!("SOAPAction: urn:internalvim25/8.0\r\nCookie: vmware_soap_session={cookie}\r\n");
    send(sim, &post(&headers, &body)).await
}

#[tokio::test]
async fn a_source_bars_a_method_and_only_it_takes_that_back() {
    let sim = start(2).await;
    let client = log_in(&sim).await;
    let cookie = client.session_cookie().unwrap().expose_secret().to_owned();
    let vm = machine(&client, &sim);
    let entity = format!("<v:entity type=\"VirtualMachine\">{}</v:entity>", vm.moref().value());
    let disable = |method: &str, source: &str| {
        format!(
            "{entity}<v:method><v:method>{method}</v:method><v:reasonId>backup</v:reasonId></v:method>\
             <v:sourceId>{source}</v:sourceId>"
        )
    };
    let enable = |method: &str, source: &str| {
        format!("{entity}<v:method>{method}</v:method><v:sourceId>{source}</v:sourceId>")
    };
    let done = ask(&sim, &cookie, "DisableMethods", &disable("PowerOffVM_Task", "backup-1")).await;
    assert!(done.starts_with("HTTP/1.1 200"), "{done}");
    assert_eq!(vm.require(mo::VirtualMachine::DISABLED_METHOD).await.unwrap(), ["PowerOffVM_Task"]);
    let refused = vm.power_off_vm_task().await.unwrap_err();
    let fault = refused.fault::<t::MethodDisabled>().unwrap_or_else(|| panic!("{refused:?}"));
    assert_eq!(fault.source.as_deref(), Some("backup-1"));
    // The other machine is free, and on file stands whose bar it is.
    let other: mo::VirtualMachine = client.bind(&sim.vm("vm-2").unwrap().moref());
    other.power_off_vm_task().await.unwrap().wait().await.unwrap();
    let inventory = sim_store::state::Inventory::load(sim.data_dir()).unwrap();
    assert_eq!(inventory.vm(vm.moref().value()).unwrap().disabled_methods[0].source, "backup-1");
    let listed = ask(&sim, &cookie, "QueryDisabledMethods", &entity).await;
    assert!(listed.contains("PowerOffVM_Task") && listed.contains("backup-1"), "{listed}");

    let taken = ask(&sim, &cookie, "DisableMethods", &disable("PowerOffVM_Task", "backup-2")).await;
    assert!(taken.contains("MethodAlreadyDisabledFault") && taken.contains("backup-1"), "{taken}");
    let done = ask(&sim, &cookie, "EnableMethods", &enable("PowerOffVM_Task", "backup-2")).await;
    assert!(done.starts_with("HTTP/1.1 200"), "{done}");
    assert!(vm.power_off_vm_task().await.is_err(), "another's bar stays");
    ask(&sim, &cookie, "EnableMethods", &enable("PowerOffVM_Task", "backup-1")).await;
    vm.power_off_vm_task().await.unwrap().wait().await.unwrap();
    assert!(vm.require(mo::VirtualMachine::DISABLED_METHOD).await.unwrap().is_empty());

    let unknown = ask(&sim, &cookie, "DisableMethods", &disable("NoSuch_Task", "backup-1")).await;
    assert!(unknown.contains("InvalidArgument"), "{unknown}");
    let host = "<v:entity type=\"HostSystem\">host-21</v:entity><v:method>PowerOffVM_Task</v:method><v:sourceId>s</v:sourceId>";
    let refused = ask(&sim, &cookie, "DisableMethods", host).await;
    assert!(refused.contains("NotSupported"), "{refused}");
}

#[tokio::test]
async fn it_takes_a_privilege() {
    let password = secrecy::SecretString::from("p");
    let sim = vsphere_sim::Sim::builder()
        .vm(vsphere_sim::VmSpec::new("vm-1"))
        .add_user("reader@vsphere.local", password.clone(), "ReadOnly")
        .start()
        .await
        .unwrap();
    let client = crate::connect(&sim).await;
    client.login("reader@vsphere.local", &password).await.unwrap();
    let cookie = client.session_cookie().unwrap().expose_secret().to_owned();
    let arguments = format!(
        "<v:entity type=\"VirtualMachine\">{}</v:entity><v:method>RelocateVM_Task</v:method><v:sourceId>s</v:sourceId>",
        machine(&client, &sim).moref().value()
    );
    for (method, privilege) in
        [("DisableMethods", "Global.DisableMethods"), ("EnableMethods", "Global.EnableMethods")]
    {
        let refused = ask(&sim, &cookie, method, &arguments).await;
        assert!(refused.contains("NoPermission") && refused.contains(privilege), "{refused}");
    }
}
