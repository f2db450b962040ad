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
use vim_api::mo::Managed;

const PROGRAM: &str = env!("CARGO_BIN_EXE_vsphere-sim");

#[tokio::test]
async fn prints_where_it_is_and_runs_until_it_is_told_to_stop() {
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
    assert_eq!(rest, format!("page {}/\n", values[1]), "nothing else is printed");
    assert!(child.wait().unwrap().success());
    for file in ["inventory.json", "vsphere.json"] {
        let text = std::fs::read_to_string(data.path().join(file)).unwrap();
        assert!(!text.contains("a secret of the test"), "{file}");
    }
}

/// Runs the program until it has said where it is, and ends it. Answers its output line by line, and its log.
fn run_briefly(command: &mut Command) -> (Vec<String>, String) {
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut out = BufReader::new(child.stdout.take().unwrap()).lines();
    let lines: Vec<String> = out.by_ref().take(5).map(Result::unwrap).collect();
    let told = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(told.success());
    let output = child.wait_with_output().unwrap();
    let log = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{lines:?}\n{log}");
    (lines, log)
}

#[test]
fn help_is_worth_reading() {
    let help = |option: &str| {
        let output = Command::new(PROGRAM).arg(option).output().unwrap();
        assert!(output.status.success());
        String::from_utf8(output.stdout).unwrap()
    };
    let (short, long) = (help("-h"), help("--help"));
    assert!(short.len() * 2 < long.len());
    for part in [
        "Where it listens:",
        "Who may log in:",
        "How it behaves:",
        "VSPHERE_SIM_PASSWORD",
        "Exit status:",
        "The file of --principals",
        "page ",
    ] {
        assert!(long.contains(part), "{part} is not in:\n{long}");
    }
    // The commands of the examples work; only their ports may be taken by somebody else.
    let folder = tempfile::tempdir().unwrap();
    let beside = std::path::Path::new(PROGRAM).parent().unwrap().display().to_string();
    let path = format!("{beside}:{}", std::env::var("PATH").unwrap());
    let examples: Vec<&str> =
        long.lines().map(str::trim).filter(|line| line.contains("secret vsphere-sim")).collect();
    assert_eq!(examples.len(), 3, "{long}");
    for example in examples {
        let example = example
            .replace(":8989", ":0")
            .replace(":8990", ":0")
            .replace("secret vsphere", "secret exec vsphere");
        let mut shell = Command::new("sh");
        let (lines, _) = run_briefly(shell.args(["-c", &example]).env("PATH", &path).current_dir(&folder));
        assert_eq!(lines.len(), 5, "{example}: {lines:?}");
    }
    assert!(folder.path().join("sim-data").exists());
}

#[test]
fn further_users_come_from_a_file_and_their_passwords_do_not() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("principals.json");
    let run = |json: &str| {
        std::fs::write(&file, json).unwrap();
        let mut command = Command::new(PROGRAM);
        command.args(["--vms", "1", "--password-env", "SIM_TEST_PASSWORD", "--principals"]).arg(&file);
        command.arg("--data").arg(folder.path().join("data"));
        command.env("SIM_TEST_PASSWORD", "a secret of the test").env("JOB_PASSWORD", "another secret");
        command
    };
    let good = r#"{"roles": {"backup": ["VirtualMachine.Provisioning.DiskRandomRead"]},
        "users": {"job@d": {"password_env": "JOB_PASSWORD", "role": "backup"}, "ann@d": {"password_env": "JOB_PASSWORD"}},
        "groups": {"readers@d": {"members": ["ann@d"], "role": "ReadOnly"}}}"#;
    run_briefly(&mut run(good));
    let kept = std::fs::read_to_string(folder.path().join("data/vsphere.json")).unwrap();
    assert!(!kept.contains("another secret"));
    let kept: serde_json::Value = serde_json::from_str(&kept).unwrap();
    let given: Vec<_> = kept["authorization"]["permissions"].as_array().unwrap().iter().collect();
    let of = |name: &str| {
        given.iter().find(|known| known["principal"] == name).map(|known| known["group"].clone())
    };
    assert_eq!((of("job@d"), of("readers@d"), of("ann@d")), (Some(false.into()), Some(true.into()), None));
    for (json, said) in [
        (r#"{"users": {"a": {"password": "secret"}}}"#, "unknown field `password`"),
        (
            r#"{"users": {"a": {"password_env": "NOT_SET_ANYWHERE"}}}"#,
            "NOT_SET_ANYWHERE to the password of a",
        ),
        (r#"{"roles": {"r": ["No.Such"]}}"#, "No.Such"),
        (r#"{"groups": {"g": {"members": ["stranger"]}}}"#, "stranger"),
        (r#"{"users": {"a": {"password_env": "JOB_PASSWORD", "role": "NoSuchRole"}}}"#, "NoSuchRole"),
        ("[", "principals.json is no JSON object"),
    ] {
        let refused = run(json).output().unwrap();
        let told = String::from_utf8(refused.stderr).unwrap();
        assert!(refused.status.code() == Some(1) && told.contains(said), "{json}: {told}");
        assert!(!told.contains("another secret") && !told.contains("panicked"), "{told}");
    }
}

#[test]
fn logs_are_json_if_asked_for_and_quiet_otherwise() {
    let run = |options: &[&str], variable: &str| {
        let mut command = Command::new(PROGRAM);
        command.args(["--vms", "1", "--password-env", "SIM_TEST_PASSWORD"]).args(options);
        command.env("SIM_TEST_PASSWORD", "a secret of the test").env("RUST_LOG", variable);
        run_briefly(&mut command).1
    };
    assert_eq!(run(&[], ""), "");
    let log = run(&["--log-format", "json", "--log-level", "trace"], "off");
    let events: Vec<serde_json::Value> =
        log.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let said: Vec<_> = events.iter().filter_map(|event| event["message"].as_str()).collect();
    assert!(said.contains(&"listening") && said.contains(&"told to stop"), "{log}");
    for event in &events {
        for field in ["timestamp", "level", "target", "message"] {
            assert!(event[field].is_string(), "{field}: {event}");
        }
    }
    assert!(!log.contains("a secret of the test"));
    assert!(run(&[], "warn,vsphere_sim=info").contains(" INFO vsphere_sim: listening"));
}

#[test]
fn says_what_is_wrong_with_an_argument() {
    for (arguments, hints) in [
        (["--listen", "8989"], ["127.0.0.1:8989", "port 0"]),
        (["--listen", "nowhere.invalid:1"], ["no address", "[::1]"]),
        (["--control", "0.0.0.0:0"], ["loopback", "ssh -L"]),
        (["--vms", "many"], ["--vms", "invalid digit"]),
        (["--vms", "100001"], ["0..=100000", "--vms"]),
        (["--wire", "prefix=soap"], ["--wire", "vim25"]),
        (["--log-level", "loud"], ["off, error, warn, info", "vsphere_sim=info"]),
        (["--log-format", "xml"], ["text, json", "--log-format"]),
    ] {
        let output = Command::new(PROGRAM).args(arguments).env("VSPHERE_SIM_PASSWORD", "x").output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(2), "{arguments:?}: {error}");
        assert!(hints.iter().all(|hint| error.contains(hint)), "{arguments:?}: {error}");
    }
}

#[test]
fn says_what_is_missing() {
    let output = Command::new(PROGRAM).args(["--password-env", "SIM_TEST_UNSET"]).output().unwrap();
    assert_eq!(output.status.code(), Some(1));
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

/// The data folder is full: a file system on which no file may become larger does that to one process alone.
#[tokio::test]
async fn what_cannot_be_written_is_no_success_and_the_next_start_opens() {
    let data = tempfile::tempdir().unwrap();
    let run = |blocks: &str| {
        let script = format!("trap '' XFSZ; ulimit -f {blocks}; exec \"$0\" \"$@\"");
        let mut command = Command::new("sh");
        command.args(["-c", &script, PROGRAM, "--vms", "1", "--password-env", "SIM_TEST_PASSWORD", "--data"]);
        command.arg(data.path()).env("SIM_TEST_PASSWORD", "x").stdout(Stdio::piped()).stderr(Stdio::piped());
        command
    };
    let ready = async |child: &mut std::process::Child| {
        let mut out = BufReader::new(child.stdout.take().unwrap());
        let mut lines = [String::new(), String::new(), String::new(), String::new()];
        for line in &mut lines {
            out.read_line(line).unwrap();
        }
        let value = |line: &String| line.trim_end().split_once(' ').unwrap().1.to_owned();
        let client =
            Client::connect(&value(&lines[0])).thumbprint(value(&lines[3]).parse().unwrap()).await.unwrap();
        client.login("administrator@vsphere.local", &SecretString::from("x")).await.unwrap();
        let root = client.content().root_folder.cast();
        let found = client.list::<vim_api::mo::VirtualMachine>(&root, &["name"]).await.unwrap();
        let vm: vim_api::mo::VirtualMachine = client.bind(found[0].object());
        (client, vm)
    };
    let note = |length: usize| vim_api::types::VirtualMachineConfigSpec {
        annotation: Some("n".repeat(length)),
        ..Default::default()
    };
    let annotation = async |vm: &vim_api::mo::VirtualMachine| {
        vm.require(vim_api::mo::VirtualMachine::CONFIG).await.unwrap().annotation.unwrap_or_default().len()
    };
    // The disks are sparse, and as large to this limit as they are to a reader.
    let mut child = run("unlimited").spawn().unwrap();
    let (_client, vm) = ready(&mut child).await;
    vm.reconfig_vm_task(&note(10)).await.unwrap().wait().await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    let machine = std::fs::read_dir(data.path().join("machines")).unwrap().next().unwrap().unwrap().path();
    let largest = |path: &std::path::Path| std::fs::metadata(path).unwrap().len() / 512 + 8;
    let blocks = largest(&machine).max(largest(&data.path().join("vsphere.json")));
    let mut child = run(&blocks.to_string()).spawn().unwrap();
    let (_client, vm) = ready(&mut child).await;
    let failed = vm.reconfig_vm_task(&note(2_000_000)).await.unwrap().wait().await.unwrap_err();
    let text = failed.to_string();
    assert!(text.contains(data.path().to_str().unwrap()) || text.contains(".vmx"), "{text}");
    child.kill().unwrap();
    child.wait().unwrap();

    let mut child = run("unlimited").spawn().unwrap();
    let (_client, vm) = ready(&mut child).await;
    assert_eq!(annotation(&vm).await, 10, "what was acknowledged, and nothing else");
    vm.reconfig_vm_task(&note(2000)).await.unwrap().wait().await.unwrap();
    child.kill().unwrap();
    child.wait().unwrap();

    // With no room at all there is no start, and the reason says where.
    let empty = tempfile::tempdir().unwrap();
    let output = Command::new("sh")
        .args(["-c", "trap '' XFSZ; ulimit -f 1; exec \"$0\" \"$@\"", PROGRAM])
        .args(["--password-env", "SIM_TEST_PASSWORD", "--data"])
        .arg(empty.path())
        .env("SIM_TEST_PASSWORD", "x")
        .output()
        .unwrap();
    let error = String::from_utf8(output.stderr).unwrap();
    assert!(!output.status.success() && error.contains(empty.path().to_str().unwrap()), "{error}");
}

#[test]
fn a_host_and_a_version_are_chosen_by_options_that_say_what_is_wrong() {
    for (options, hints) in [
        (&["--api-version", "6.5"][..], &["6.7.3", "7.0.3.0", "9.1.0.0"][..]),
        (&["--api-version", "newest"], &["8.0.3.0"]),
        (&["--esxi", "--hosts", "2"], &["2 hosts", "an ESXi host by itself"]),
        (&["--esxi", "--password-env", "SIM_TEST_UNSET"], &["SIM_TEST_UNSET", "root"]),
    ] {
        let mut command = Command::new(PROGRAM);
        command.args(["--vms", "0"]).args(options).env("VSPHERE_SIM_PASSWORD", "x");
        let output = command.output().unwrap();
        let error = String::from_utf8(output.stderr).unwrap();
        assert!(
            !output.status.success() && hints.iter().all(|hint| error.contains(hint)),
            "{options:?}: {error}"
        );
    }
}

#[tokio::test]
async fn a_host_of_an_older_version() {
    let mut child = Command::new(PROGRAM)
        .args(["--esxi", "--api-version", "7.0.2", "--vms", "2"])
        .env("VSPHERE_SIM_PASSWORD", "x")
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let mut value = || lines.next().unwrap().split_once(' ').unwrap().1.to_owned();
    let (url, _, pin) = (value(), value(), value());
    let client = Client::connect(&url).thumbprint(pin.parse().unwrap()).await.unwrap();
    let about = &client.content().about;
    assert_eq!((about.api_type.as_str(), about.api_version.as_str()), ("HostAgent", "7.0.2.0"));
    client.login("root", &SecretString::from("x")).await.unwrap();
    let found = client.find_all::<vim_api::mo::VirtualMachine>("/ha-datacenter/vm/*").await.unwrap();
    assert_eq!(found.iter().map(|one| one.object.value()).collect::<Vec<_>>(), ["1", "2"]);
    child.kill().unwrap();
    child.wait().unwrap();
}
