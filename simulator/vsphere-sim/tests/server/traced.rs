//! What those learn who trace the client: much of the calls, and no secret.

use std::fmt::Debug;
use std::sync::{Arc, LazyLock, Mutex};

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use secrecy::ExposeSecret;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};
use vim_api::mo::{self, Managed};
use vim_api::rest::TagId;
use vim_api::{ApiVersion, Client, ErrorKind};
use vsphere_sim::{DiskSpec, Sim, VmSpec};

use crate::{log_in, machine, start};

/// Writes down everything that is told, in one text.
#[derive(Clone, Default)]
struct Recorder(Arc<Mutex<String>>);

impl Recorder {
    fn add(&self, text: &str) {
        self.0.lock().unwrap().push_str(text);
    }
}

impl Visit for Recorder {
    fn record_debug(&mut self, field: &Field, value: &dyn Debug) {
        self.add(&format!(" {field}={value:?}"));
    }
}

impl Subscriber for Recorder {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        self.add(&format!("\n{}", span.metadata().name()));
        span.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        self.add("\nevent");
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// While there is one subscriber alone, a place that is first met on a thread without any is switched off on all threads.
/// These keep it company.
static OTHERS: LazyLock<[tracing::Dispatch; 2]> =
    LazyLock::new(|| [(); 2].map(|()| tracing::Dispatch::new(Recorder::default())));

/// Records what is told from here on, on this thread.
fn recorded() -> (tracing::subscriber::DefaultGuard, Arc<Mutex<String>>) {
    LazyLock::force(&OTHERS);
    let recorder = Recorder::default();
    let told = Arc::clone(&recorder.0);
    (tracing::subscriber::set_default(recorder), told)
}

#[tokio::test]
async fn spans_tell_of_each_call_and_never_a_secret() {
    let sim = start(1).await;
    let (guard, told) = recorded();
    let client = log_in(&sim).await;
    let cookie = client.session_cookie().unwrap();
    let vm = machine(&client, &sim);
    vm.require(mo::VirtualMachine::NAME).await.unwrap();
    sim.expire_sessions();
    vm.require(mo::VirtualMachine::NAME).await.unwrap();
    client
        .bind(&vim_api::MoRef::<mo::VirtualMachine>::new("vm-0"))
        .get(mo::VirtualMachine::NAME)
        .await
        .unwrap_err();
    let ticket = client.clone_ticket().await.unwrap();
    drop(guard);

    let told = told.lock().unwrap().clone();
    for expected in [
        "method=\"Login\"",
        "object=SessionManager:SessionManager",
        "method=\"RetrievePropertiesEx\"",
        "outcome=\"ok\"",
        "outcome=\"NotAuthenticated\"",
        "outcome=\"ManagedObjectNotFound\"",
        " sent=",
        " received=",
        " micros=",
    ] {
        assert!(told.contains(expected), "{expected} is not in:{told}");
    }
    for secret in [sim.password(), &cookie, &ticket] {
        let secret = secret.expose_secret().trim_matches('"');
        assert!(secret.len() > 8 && !told.contains(secret), "a secret was told:{told}");
    }
}

#[tokio::test]
async fn requests_to_rest_services_are_told_of_without_their_secrets() {
    for version in ["8.0.3.0", "7.0.3.0"] {
        let sim = Sim::builder()
            .vm(VmSpec::new("vm-1").disk(DiskSpec::empty(1 << 20)))
            .api_version(ApiVersion::parse(version).unwrap())
            .start()
            .await
            .unwrap();
        let (guard, told) = recorded();
        let client = log_in(&sim).await;
        let cookie = client.session_cookie().unwrap();
        let tags = client.rest().tags();
        tags.attached(&[sim.vms()[0].moref()]).await.unwrap();
        tags.tag(&TagId::new("urn:none")).await.unwrap_err();
        client.close().await.unwrap();
        drop(guard);

        let told = told.lock().unwrap().clone();
        for expected in [
            "object=/api/cis/tagging/tag-association (list-attached-tags-on-objects)",
            "object=/api/cis/tagging/tag/urn%3Anone",
            "method=\"GET\"",
            "outcome=NotFound",
        ] {
            assert!(told.contains(expected), "{expected} is not in:{told}");
        }
        let password = sim.password().expose_secret();
        let basic = STANDARD.encode(format!("{}:{password}", sim.user()));
        for secret in [password, cookie.expose_secret().trim_matches('"'), &basic] {
            assert!(secret.len() > 8 && !told.contains(secret), "a secret was told:{told}");
        }
    }
}

#[tokio::test]
async fn a_program_has_a_name_and_few_connections() {
    let sim = start(2).await;
    let pin = sim.thumbprint_sha256().parse().unwrap();
    let client = Client::connect(&sim.url())
        .thumbprint(pin)
        .user_agent("backup/1.2")
        .max_connections(1)
        .await
        .unwrap();
    client.login(sim.user(), sim.password()).await.unwrap();
    let session = client.current_session().await.unwrap();
    assert_eq!(session.user_agent.as_deref(), Some("backup/1.2"));
    let plain = log_in(&sim).await.current_session().await.unwrap();
    assert_eq!(plain.user_agent.as_deref(), Some(concat!("vim-api/", env!("CARGO_PKG_VERSION"))));
    // They take turns on the one connection.
    let vm = machine(&client, &sim);
    let names = (0..20).map(|_| vm.require(mo::VirtualMachine::NAME));
    let names = futures::future::join_all(names).await;
    assert!(names.iter().all(|name| name.as_ref().unwrap() == "vm-1"));

    let none = Client::connect(&sim.url()).thumbprint(pin).max_connections(0).await.unwrap_err();
    assert_eq!(none.kind(), ErrorKind::InvalidInput);
    let broken =
        Client::connect(&sim.url()).thumbprint(pin).proxy("ftp://proxy.example.org").await.unwrap_err();
    assert_eq!(broken.kind(), ErrorKind::InvalidInput, "{broken:?}");
    // A port at which nothing listens is no proxy.
    let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let nobody = format!("http://{}", socket.local_addr().unwrap());
    drop(socket);
    let unreachable = Client::connect(&sim.url()).thumbprint(pin).proxy(&nobody).await.unwrap_err();
    assert!(matches!(unreachable.kind(), ErrorKind::Connect | ErrorKind::Proxy), "{unreachable:?}");
}
