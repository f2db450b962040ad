//! Extensions, custom fields, settings, users, licenses, and the session manager's lesser calls.

use std::time::Duration;

use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{self, Managed};
use vim_api::types as t;
use vim_api::{ApiVersion, Client, MoRef};
use vsphere_sim::{Sim, VmSpec};

use crate::{connect, log_in, machine, start};

/// An extension that announces tasks of one type.
pub(crate) fn extension(key: &str) -> t::Extension {
    let text = t::Description {
        label: "Example".to_owned(),
        summary: "An example".to_owned(),
        ..Default::default()
    };
    let task = t::ExtensionTaskTypeInfo { task_id: format!("{key}.backup"), ..Default::default() };
    t::Extension {
        description: Poly::new(text.clone()),
        key: key.to_owned(),
        version: "1.0".to_owned(),
        company: Some("Example & Sons".to_owned()),
        server: vec![t::ExtensionServerInfo {
            url: "https://127.0.0.1/".to_owned(),
            description: Poly::new(text),
            company: "Example".to_owned(),
            r#type: "SOAP".to_owned(),
            admin_email: vec!["root@example.com".to_owned()],
            ..Default::default()
        }],
        task_list: vec![task],
        last_heartbeat_time: std::time::SystemTime::UNIX_EPOCH.into(),
        ..Default::default()
    }
}

#[tokio::test]
async fn extensions_come_back_as_they_were_given() {
    let folder = tempfile::tempdir().unwrap();
    let begin = || Sim::builder().data_dir(folder.path()).start();
    let sim = begin().await.unwrap();
    let client = log_in(&sim).await;
    let bind = |client: &Client| -> mo::ExtensionManager {
        client.bind(client.content().extension_manager.as_ref().unwrap())
    };
    let manager = bind(&client);
    assert!(manager.find_extension("com.example").await.unwrap().is_none());
    manager.register_extension(&extension("com.example")).await.unwrap();
    let twice = manager.register_extension(&extension("com.example")).await.unwrap_err();
    assert!(twice.fault::<t::InvalidArgument>().is_some(), "{twice}");
    let newer = t::Extension { version: "1.1".to_owned(), ..extension("com.example") };
    manager.update_extension(&newer).await.unwrap();
    manager.set_public_key("com.example", "a key").await.unwrap();
    let none = manager.set_extension_certificate("com.example", None).await.unwrap_err();
    assert!(none.fault::<t::NoClientCertificate>().is_some(), "{none}");
    assert!(manager.query_managed_by("com.example").await.unwrap().is_empty());
    let key = manager.get_public_key().await.unwrap();
    assert!(key.contains("BEGIN PUBLIC KEY"), "{key}");
    drop(sim);

    let sim = begin().await.unwrap();
    let client = log_in(&sim).await;
    let manager = bind(&client);
    assert_eq!(manager.get_public_key().await.unwrap(), key);
    let found = manager.find_extension("com.example").await.unwrap().unwrap();
    assert_eq!((found.version.as_str(), found.company.as_deref()), ("1.1", Some("Example & Sons")));
    assert_eq!(found.server[0].admin_email, ["root@example.com"]);
    assert_eq!(manager.require(mo::ExtensionManager::EXTENSION_LIST).await.unwrap().len(), 1);
    manager.unregister_extension("com.example").await.unwrap();
    for gone in [
        manager.unregister_extension("com.example").await.unwrap_err(),
        manager.update_extension(&newer).await.unwrap_err(),
        manager.set_extension_certificate("com.example", Some("pem")).await.unwrap_err(),
    ] {
        assert!(gone.fault::<t::NotFound>().is_some(), "{gone}");
    }
    let sessions: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    let refused = sessions.login_extension_by_certificate("com.example", None).await.unwrap_err();
    assert!(refused.fault::<t::NoClientCertificate>().is_some(), "{refused}");
}

fn text(values: &[Poly<t::CustomFieldValue>]) -> Vec<(i32, &str)> {
    let text = |value: &Poly<t::CustomFieldValue>| {
        value.downcast_ref::<t::CustomFieldStringValue>().map(|text| text.value.clone())
    };
    assert!(values.iter().all(|value| text(value).is_some()));
    values
        .iter()
        .filter_map(|value| {
            Some((value.key, value.downcast_ref::<t::CustomFieldStringValue>()?.value.as_str()))
        })
        .collect()
}

#[tokio::test]
async fn custom_fields_are_defined_and_set() {
    let folder = tempfile::tempdir().unwrap();
    let begin = || Sim::builder().data_dir(folder.path()).vm(VmSpec::new("vm-1")).start();
    let sim = begin().await.unwrap();
    let client = log_in(&sim).await;
    let manager: mo::CustomFieldsManager =
        client.bind(client.content().custom_fields_manager.as_ref().unwrap());
    let vm = machine(&client, &sim);
    let owner = manager.add_custom_field_def("Owner", None, None, None).await.unwrap();
    let policy = t::PrivilegePolicyDef {
        create_privilege: "Global.SetCustomField".to_owned(),
        read_privilege: "System.View".to_owned(),
        update_privilege: "Global.SetCustomField".to_owned(),
        delete_privilege: "Global.SetCustomField".to_owned(),
        ..Default::default()
    };
    let backup = manager
        .add_custom_field_def("LastBackup", Some("VirtualMachine"), None, Some(&policy))
        .await
        .unwrap();
    assert_eq!(backup.field_instance_privileges.as_ref().unwrap().read_privilege, "System.View");
    assert_eq!((owner.r#type.as_str(), owner.managed_object_type.as_ref()), ("string", None));
    let twice = manager.add_custom_field_def("Owner", None, None, None).await.unwrap_err();
    assert!(twice.fault::<t::DuplicateName>().is_some(), "{twice}");
    let wrong = manager.add_custom_field_def("x", Some("NoSuch"), None, None).await.unwrap_err();
    assert!(wrong.fault::<t::InvalidArgument>().is_some(), "{wrong}");

    manager.set_field(&vm.moref().cast(), owner.key, "me").await.unwrap();
    vm.set_custom_value("LastBackup", "today").await.unwrap();
    let expected = [(owner.key, "me"), (backup.key, "today")];
    assert_eq!(text(&vm.require(mo::VirtualMachine::CUSTOM_VALUE).await.unwrap()), expected);
    assert_eq!(text(&vm.require(mo::VirtualMachine::VALUE).await.unwrap()), expected);
    assert_eq!(text(&vm.require(mo::VirtualMachine::SUMMARY).await.unwrap().custom_value), expected);
    assert_eq!(vm.require(mo::VirtualMachine::AVAILABLE_FIELD).await.unwrap().len(), 2);
    let folder_of_vms: mo::Folder = client.bind(&MoRef::new("group-v3"));
    assert_eq!(folder_of_vms.require(mo::Folder::AVAILABLE_FIELD).await.unwrap().len(), 1);
    let refused = manager.set_field(&folder_of_vms.moref().cast(), backup.key, "x").await.unwrap_err();
    assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
    assert!(vm.set_custom_value("NoSuch", "x").await.unwrap_err().fault::<t::InvalidArgument>().is_some());
    drop(sim);

    let sim = begin().await.unwrap();
    let client = log_in(&sim).await;
    let manager: mo::CustomFieldsManager =
        client.bind(client.content().custom_fields_manager.as_ref().unwrap());
    let vm = machine(&client, &sim);
    manager.rename_custom_field_def(owner.key, "Contact").await.unwrap();
    let taken = manager.rename_custom_field_def(owner.key, "LastBackup").await.unwrap_err();
    assert!(taken.fault::<t::DuplicateName>().is_some(), "{taken}");
    manager.remove_custom_field_def(backup.key).await.unwrap();
    let gone = manager.remove_custom_field_def(backup.key).await.unwrap_err();
    assert!(gone.fault::<t::InvalidArgument>().is_some(), "{gone}");
    let left = manager.require(mo::CustomFieldsManager::FIELD).await.unwrap();
    assert_eq!(left.iter().map(|field| field.name.as_str()).collect::<Vec<_>>(), ["Contact"]);
    assert_eq!(text(&vm.require(mo::VirtualMachine::CUSTOM_VALUE).await.unwrap()), [(owner.key, "me")]);
    vm.set_custom_value("Contact", "").await.unwrap();
    assert!(vm.require(mo::VirtualMachine::CUSTOM_VALUE).await.unwrap().is_empty());
    let third = manager.add_custom_field_def("Third", None, None, None).await.unwrap();
    assert!(third.key > backup.key, "keys are not used again");
}

#[tokio::test]
async fn settings_are_read_changed_and_heeded() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let manager: mo::OptionManager = client.bind(client.content().setting.as_ref().unwrap());
    let key = "config.vmacore.soap.sessionTimeout";
    let found = manager.query_options(Some(key)).await.unwrap();
    assert!(matches!(found[0].value, Some(Value::Int(30))), "{found:?}");
    assert!(manager.query_options(Some("VirtualCenter.")).await.unwrap().len() >= 2);
    let unknown = manager.query_options(Some("no.such")).await.unwrap_err();
    assert!(unknown.fault::<t::InvalidName>().is_some(), "{unknown}");
    let option = |key: &str, value| {
        Poly::new(t::OptionValue { key: key.to_owned(), value: Some(value), ..Default::default() })
    };
    // All or nothing.
    let wrong = [option(key, Value::Int(2)), option("no.such", Value::Int(1))];
    assert!(manager.update_options(&wrong).await.unwrap_err().fault::<t::InvalidName>().is_some());
    for wrong in [Value::Int(0), Value::String("2".to_owned())] {
        let refused = manager.update_options(&[option(key, wrong)]).await.unwrap_err();
        assert!(refused.fault::<t::InvalidArgument>().is_some(), "{refused}");
    }
    sim.advance_clock(Duration::from_secs(5 * 60));
    assert_eq!(sim.session_count(), 1);
    let name = option("VirtualCenter.InstanceName", Value::String("mine".to_owned()));
    manager.update_options(&[option(key, Value::Int(2)), name]).await.unwrap();
    let all = manager.require(mo::OptionManager::SETTING).await.unwrap();
    let defined = manager.require(mo::OptionManager::SUPPORTED_OPTION).await.unwrap();
    assert_eq!(all.len(), defined.len());
    let named = all.iter().find(|option| option.key == "VirtualCenter.InstanceName").unwrap();
    assert!(matches!(&named.value, Some(Value::String(name)) if name == "mine"));
    sim.advance_clock(Duration::from_secs(3 * 60));
    assert_eq!(sim.session_count(), 0, "the session was idle for longer than the setting allows");
}

#[tokio::test]
async fn users_are_found_and_licenses_told() {
    let password = secrecy::SecretString::from("p");
    let sim = Sim::builder().add_user("reader@example.com", password, "ReadOnly").start().await.unwrap();
    let client = log_in(&sim).await;
    let directory: mo::UserDirectory = client.bind(client.content().user_directory.as_ref().unwrap());
    let find = |domain: Option<&'static str>, text: &'static str, exact, users| {
        let directory = directory.clone();
        async move {
            let found =
                directory.retrieve_user_groups(domain, text, None, None, exact, users, true).await.unwrap();
            found.iter().map(|user| user.principal.clone()).collect::<Vec<_>>()
        }
    };
    assert_eq!(find(None, "", false, true).await.len(), 2);
    assert_eq!(find(None, "READ", false, true).await, ["reader@example.com"]);
    assert!(find(None, "read", true, true).await.is_empty());
    assert_eq!(find(Some("example.com"), "reader", true, true).await, ["reader@example.com"]);
    assert!(find(Some("vsphere.local"), "reader", true, true).await.is_empty());
    assert!(find(None, "", false, false).await.is_empty());
    let domains = directory.require(mo::UserDirectory::DOMAIN_LIST).await.unwrap();
    assert_eq!(domains, ["example.com", "vsphere.local"]);

    let licenses: mo::LicenseManager = client.bind(client.content().license_manager.as_ref().unwrap());
    let known = licenses.require(mo::LicenseManager::LICENSES).await.unwrap();
    assert_eq!(known[0].edition_key, "eval");
    assert!(licenses.require(mo::LicenseManager::EVALUATION).await.unwrap().properties.len() >= 2);
}

#[tokio::test]
async fn a_session_chooses_its_language_and_all_read_the_message() {
    let sim = start(1).await;
    let client = log_in(&sim).await;
    let sessions: mo::SessionManager = client.bind(client.content().session_manager.as_ref().unwrap());
    sessions.set_locale("en_US").await.unwrap();
    assert_eq!(client.current_session().await.unwrap().locale, "en_US");
    let refused = sessions.set_locale("tlh").await.unwrap_err();
    assert!(refused.fault::<t::InvalidLocale>().is_some(), "{refused}");
    sessions.update_service_message("closed on Sunday").await.unwrap();
    let other = log_in(&sim).await;
    let sessions: mo::SessionManager = other.bind(other.content().session_manager.as_ref().unwrap());
    assert_eq!(sessions.require(mo::SessionManager::MESSAGE).await.unwrap(), "closed on Sunday");
}

#[tokio::test]
async fn the_product_is_the_one_that_speaks_the_version() {
    for (api, product, license) in [
        ("6.7", "6.7.0", "6.0"),
        ("6.7.3", "6.7.0", "6.0"),
        ("7.0.3.2", "7.0.3", "7.0"),
        ("8.0.3.0", "8.0.3", "8.0"),
        ("9.0.0.0", "9.0.0", "9.0"),
        ("9.1.0.0", "9.1.0", "9.0"),
    ] {
        let version = ApiVersion::parse(api).unwrap();
        let sim = Sim::builder().api_version(version).start().await.unwrap();
        let about = connect(&sim).await.content().about.clone();
        assert_eq!(about.version, product);
        assert_eq!(about.api_version, api);
        assert_eq!(about.license_product_version.as_deref(), Some(license));
        assert!(about.full_name.contains(&about.build), "{}", about.full_name);
    }
}
