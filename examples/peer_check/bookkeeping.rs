//! Custom fields, events, options, counters, roles and users.

use anyhow::{Context, ensure};
use vim_api::Client;
use vim_api::dynamic::{Poly, Value};
use vim_api::mo::{
    AuthorizationManager, CustomFieldsManager, EventHistoryCollector, Managed, PerformanceManager,
    VirtualMachine,
};
use vim_api::types::{CustomFieldStringValue, EventFilterSpec, OptionValue, VmPoweredOnEvent};

pub(crate) async fn check(client: &Client) -> anyhow::Result<()> {
    custom_fields(client).await.context("custom fields")?;
    let events = events(client).await.context("events")?;

    let options = client.bind(client.content().setting.as_ref().context("no option manager")?);
    let set = OptionValue {
        key: "peer.check".into(),
        value: Some(Value::String("a & b".into())),
        ..Default::default()
    };
    options.update_options(&[Poly::new(set)]).await?;
    let read = options.query_options(Some("peer.check")).await?;
    let value = read.first().and_then(|option| option.value.as_ref());
    ensure!(matches!(value, Some(Value::String(text)) if text == "a & b"), "the option is {read:?}");

    let perf = client.bind(client.content().perf_manager.as_ref().context("no performance manager")?);
    let counters = perf.require(PerformanceManager::PERF_COUNTER).await?;
    // Not by QueryPerfCounter, on which vcsim 0.24.2 closes the connection.
    ensure!(!counters.is_empty(), "there are no counters");
    let roles =
        client.bind(client.content().authorization_manager.as_ref().context("no authorization manager")?);
    ensure!(!roles.require(AuthorizationManager::ROLE_LIST).await?.is_empty(), "there are no roles");
    roles.retrieve_all_permissions().await?;
    let users = client.bind(client.content().user_directory.as_ref().context("no user directory")?);
    users.retrieve_user_groups(None, "root", None, None, true, true, true).await?;
    println!("bookkeeping: custom fields, {events} events, options, counters, roles, users");
    Ok(())
}

async fn custom_fields(client: &Client) -> anyhow::Result<()> {
    let root = client.content().root_folder.cast();
    let vm: VirtualMachine = client.bind(client.list::<VirtualMachine>(&root, &["name"]).await?[0].object());
    let fields = client.bind(client.content().custom_fields_manager.as_ref().context("no manager")?);
    let field = fields.add_custom_field_def("peer.field", Some("VirtualMachine"), None, None).await?;
    fields.set_field(&vm.moref().cast(), field.key, "kept < here").await?;
    let values = vm.require(VirtualMachine::CUSTOM_VALUE).await?;
    let value =
        values.iter().find(|value| value.key == field.key).context("the value is not on the machine")?;
    let value = value.downcast_ref::<CustomFieldStringValue>().context("the value is no text")?;
    ensure!(value.value == "kept < here", "the value is {}", value.value);
    fields.rename_custom_field_def(field.key, "peer.field.2").await?;
    let names: Vec<_> =
        fields.require(CustomFieldsManager::FIELD).await?.into_iter().map(|f| f.name).collect();
    ensure!(names.iter().any(|name| name == "peer.field.2"), "the fields are {names:?}");
    fields.remove_custom_field_def(field.key).await?;
    Ok(())
}

async fn events(client: &Client) -> anyhow::Result<usize> {
    let manager = client.bind(client.content().event_manager.as_ref().context("no event manager")?);
    let powered = EventFilterSpec { event_type_id: vec!["VmPoweredOnEvent".into()], ..Default::default() };
    let powered = manager.query_events(&powered, None).await?;
    ensure!(powered.iter().any(|event| event.is::<VmPoweredOnEvent>()), "nothing was ever powered on");

    let all = EventFilterSpec { max_count: Some(10), ..Default::default() };
    let collector: EventHistoryCollector = client.bind(&manager.create_collector_for_events(&all).await?);
    ensure!(
        !collector.require(EventHistoryCollector::LATEST_PAGE).await?.is_empty(),
        "the latest page is empty"
    );
    collector.rewind_collector().await?;
    let mut read = 0;
    loop {
        let page = collector.read_next_events(5).await?;
        ensure!(page.len() <= 5, "{} events were sent where 5 were asked for", page.len());
        if page.is_empty() {
            break;
        }
        read += page.len();
        ensure!(read < 100_000, "the history has no end");
    }
    collector.destroy_collector().await?;
    ensure!(read > 5, "only {read} events");
    Ok(read)
}
