//! The program: what it prints, what it wants, and how it ends.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a failed test may panic, in its helpers too"
)]

use std::io::{BufRead, BufReader, Read};
use std::process::{Command, Stdio};

use secrecy::SecretString;
use vim_api::Client;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vsphere-sim");

#[tokio::test]
async fn prints_four_lines_and_runs_until_it_is_told_to_stop() {
    let data = tempfile::tempdir().unwrap();
    let mut child = Command::new(PROGRAM)
        .args(["--vms", "3", "--user", "me", "--password-env", "SIM_TEST_PASSWORD", "--data"])
        .arg(data.path())
        .env("SIM_TEST_PASSWORD", "a secret of the test")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut values = Vec::new();
    for key in ["url", "control", "sha1", "sha256"] {
        let mut line = String::new();
        out.read_line(&mut line).unwrap();
        let (found, value) = line.trim_end().split_once(' ').unwrap();
        assert_eq!(found, key);
        values.push(value.to_owned());
    }
    assert!(values[0].starts_with("https://127.0.0.1:") && values[0].ends_with("/sdk"), "{}", values[0]);
    assert!(values[1].starts_with("http://127.0.0.1:"), "{}", values[1]);
    // Both thumbprints let a client in.
    for pin in &values[2..] {
        let client = Client::connect(&values[0]).thumbprint(pin.parse().unwrap()).await.unwrap();
        client.login("me", &SecretString::from("a secret of the test")).await.unwrap();
        let found = client
            .list::<vim_api::mo::VirtualMachine>(&client.content().root_folder.cast(), &["name"])
            .await
            .unwrap();
        assert_eq!(found.len(), 3);
        client.logout().await.unwrap();
    }
    // A second one on the same folder is told why it cannot be, and the first goes on.
    let second = Command::new(PROGRAM)
        .args(["--password-env", "SIM_TEST_PASSWORD", "--data"])
        .arg(data.path())
        .env("SIM_TEST_PASSWORD", "x")
        .output()
        .unwrap();
    let error = String::from_utf8(second.stderr).unwrap();
    assert!(!second.status.success() && error.contains("in use by another simulator"), "{error}");
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let mut rest = String::new();
    out.read_to_string(&mut rest).unwrap();
    assert_eq!(rest, "", "nothing but the four lines is printed");
    assert!(child.wait().unwrap().success());
    for file in ["inventory.json", "vsphere.json"] {
        let text = std::fs::read_to_string(data.path().join(file)).unwrap();
        assert!(!text.contains("a secret of the test"), "{file}");
    }
}

#[test]
fn says_what_is_missing() {
    let output = Command::new(PROGRAM).args(["--password-env", "SIM_TEST_UNSET"]).output().unwrap();
    assert!(!output.status.success());
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(error.contains("SIM_TEST_UNSET"), "{error}");
    let output = Command::new(PROGRAM)
        .args(["--control", "0.0.0.0:0", "--password-env", "SIM_TEST_PASSWORD"])
        .env("SIM_TEST_PASSWORD", "x")
        .output()
        .unwrap();
    assert!(!output.status.success());
    assert!(String::from_utf8(output.stderr).unwrap().contains("loopback"));
}

#[tokio::test]
async fn takes_rules_from_a_file_and_a_style_from_its_arguments() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rules.json");
    let run = |rules: &str, style: &str| {
        std::fs::write(&file, rules).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args([
            "--vms",
            "0",
            "--password-env",
            "SIM_TEST_PASSWORD",
            "--clock-start",
            "1893456000",
            "--wire",
            style,
            "--faults",
        ]);
        command.arg(&file).env("SIM_TEST_PASSWORD", "x").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let rules = r#"[{"method": "Login", "fault": "InvalidLogin", "count": 1}, {"method": "*", "where": "http", "nth": 99}]"#;
    let mut child = run(rules, "prefix=vim25,chunked=always,gzip=always,fraction=9").spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap());
    let mut lines = [String::new(), String::new(), String::new(), String::new()];
    for line in &mut lines {
        out.read_line(line).unwrap();
    }
    let value = |line: &String| line.trim_end().split_once(' ').unwrap().1.to_owned();
    let client =
        Client::connect(&value(&lines[0])).thumbprint(value(&lines[3]).parse().unwrap()).await.unwrap();
    let (user, password) = ("administrator@vsphere.local", SecretString::from("x"));
    assert!(client.login(user, &password).await.is_err(), "the rule of the file strikes once");
    client.login(user, &password).await.unwrap();
    let clock = client.bind(&vim_api::MoRef::<vim_api::mo::ServiceInstance>::new("ServiceInstance"));
    assert_eq!(clock.current_time().await.unwrap().as_str(), "2030-01-01T00:00:00.000000000Z");
    child.kill().unwrap();
    child.wait().unwrap();

    for (rules, style, hint) in [
        (r#"{"method": "Login"}"#, "", "array"),
        (r#"[{"method": "Login", "fault": "InvalidLogin"}, {"method": "A", "nht": 1}]"#, "", "rule 2"),
        ("[]", "prefix=soap", "vim25"),
    ] {
        let output = run(rules, style).output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(!output.status.success() && error.contains(hint), "{error}");
    }
}
