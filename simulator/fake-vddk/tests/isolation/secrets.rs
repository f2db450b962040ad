//! What others can see of a worker, and what the program hears of it.

use std::sync::{Arc, Mutex};

use secrecy::SecretString;
use vixdisklib::{ConnectOptions, ConnectParams, Credentials, VmSpec};

use super::stage::Stage;

const PASSWORD: &str = "open-sesame-of-this-test";

#[test]
fn a_secret_is_in_neither_arguments_nor_environment() {
    let stage = Stage::new();
    let library = stage.library();
    let credentials = Credentials::Password { user: "root".into(), password: SecretString::from(PASSWORD) };
    let params = ConnectParams::remote("127.0.0.1", VmSpec::moref("vm-1").unwrap(), credentials);
    let error = library.connect(&params.port(1).build().unwrap(), ConnectOptions::new()).unwrap_err();
    assert!(!format!("{error:#} {error:?}").contains(PASSWORD));
    let worker = library.worker_id().unwrap();
    for file in ["cmdline", "environ"] {
        let bytes = std::fs::read(format!("/proc/{worker}/{file}")).unwrap();
        let text = String::from_utf8_lossy(&bytes);
        assert!(!bytes.is_empty() && !text.contains(PASSWORD), "{file}");
        if file == "environ" {
            // The kit's libraries are found by the worker, and by nobody else.
            let lib64 = stage.kit().canonicalize().unwrap().join("lib64");
            let path = format!("LD_LIBRARY_PATH={}", lib64.display());
            assert!(text.split('\0').any(|line| line.starts_with(&path)), "{text}");
        }
    }
    let own = std::env::var("LD_LIBRARY_PATH").unwrap_or_default();
    assert!(!own.contains(stage.root.path().to_str().unwrap()));
    // The library itself is loaded there, and not here.
    let maps = |process: &str| std::fs::read_to_string(format!("/proc/{process}/maps")).unwrap();
    let kit = stage.kit().canonicalize().unwrap();
    assert!(maps(&worker.to_string()).contains(kit.to_str().unwrap()));
    assert!(!maps("self").contains(kit.to_str().unwrap()));
}

/// Takes what is logged on whatever thread.
struct Lines(Mutex<Vec<String>>);

struct Text<'a>(&'a mut String);

impl tracing::field::Visit for Text<'_> {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!("{}={value:?} ", field.name()));
    }
}

impl tracing::Subscriber for Lines {
    fn enabled(&self, _: &tracing::Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut text = format!("{} ", event.metadata().target());
        event.record(&mut Text(&mut text));
        self.0.lock().unwrap().push(text);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

#[test]
fn log_lines_reach_the_program() {
    let lines = Arc::new(Lines(Mutex::default()));
    tracing::subscriber::set_global_default(Arc::clone(&lines)).unwrap();
    let stage = Stage::new();
    let library = stage.library();
    let banner = format!("VMware VixDiskLib ({})", library.version());
    let heard = lines.0.lock().unwrap().clone();
    assert!(
        heard.iter().any(|line| line.starts_with("vixdisklib::vddk ") && line.contains(&banner)),
        "{heard:?}"
    );
    // Forwarded, not doubled by a library of this process.
    assert!(library.is_isolated());
}
