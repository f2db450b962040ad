//! What happened lately, newest last.
//!
//! ```text
//! cargo run --example events
//! VSPHERE_PASSWORD=... cargo run --example events -- --url https://vcenter.example.org/sdk --user me@vsphere.local
//! ```

mod connect;

use anyhow::Context;
use clap::Parser;
use serde_json::json;
use vim_api::mo::{EventHistoryCollector, Managed};
use vim_api::types::EventFilterSpec;

/// Prints the latest events.
#[derive(Parser)]
struct Options {
    #[command(flatten)]
    server: connect::Server,
    /// Only events of these types, such as VmPoweredOnEvent. May be given several times.
    #[arg(long = "type", value_name = "TYPE")]
    types: Vec<String>,
    /// How many at most.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(i32).range(1..=1000))]
    count: i32,
    /// Print one JSON object a line.
    #[arg(long)]
    json: bool,
}

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let options = Options::parse();
    let connection = options.server.connect().await?;
    let client = &connection.client;
    let manager = client.content().event_manager.as_ref();
    let manager = client.bind(manager.context("this server keeps no events")?);
    let filter = EventFilterSpec { event_type_id: options.types, ..Default::default() };
    let collector: EventHistoryCollector = client.bind(&manager.create_collector_for_events(&filter).await?);
    collector.set_collector_page_size(options.count).await?;
    let mut page = collector.require(EventHistoryCollector::LATEST_PAGE).await?;
    // A server need not sort the page; keys grow.
    page.sort_by_key(|event| event.key);
    for event in &page {
        let (time, what) = (event.created_time.as_str(), event.type_name());
        let text = event.full_formatted_message.as_deref().unwrap_or_default();
        if options.json {
            println!("{}", json!({ "time": time, "type": what, "user": event.user_name, "message": text }));
        } else {
            println!("{time}  {what}  {text}");
        }
    }
    collector.destroy_collector().await?;
    client.logout().await?;
    Ok(())
}
