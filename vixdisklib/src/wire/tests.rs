//! Messages there and back, and frames that are none.

use std::io::Cursor;
use std::path::PathBuf;

use secrecy::{ExposeSecret, SecretString};

use super::*;
use crate::ffi::bindings::VddkBlock;
use crate::params::{ConnectParams, Credentials, DatastoreFolder, StorageObject, Thumbprint, VmSpec};

fn password() -> Credentials {
    Credentials::Password { user: "root".into(), password: SecretString::from("hush") }
}

fn connect(params: ConnectParams) -> ToWorker {
    let request =
        Request::Connect { params, read_only: true, snapshot: Some(c"snapshot-1".into()), modes: None };
    ToWorker::Call { id: 7, request }
}

/// Frames of messages that between them hold every sort of value.
fn frames() -> Vec<Vec<u8>> {
    let vm = || VmSpec::moref("vm-1").unwrap();
    let cookie = Credentials::SessionCookie {
        cookie: SecretString::from("crumbs"),
        user: "root".into(),
        key: SecretString::from("hush"),
    };
    let thumbprint = Thumbprint::from_sha1([7; 20]);
    let machine = ConnectParams::remote("vc", vm(), password()).port(444).thumbprint(thumbprint);
    let certified = ConnectParams::remote("vc", vm(), cookie).certificate("PEM");
    let object = ConnectParams::storage_object("vc", StorageObject::new("a", "b").snapshot("c"), password());
    let file = ConnectParams::remote("vc", VmSpec::vmx("web/web.vmx", "DC", "ds 1").unwrap(), password());
    let folder = ConnectParams::datastore("vc", DatastoreFolder::new("a", "b"), password());
    let blocks = vec![VddkBlock { offset: 1, length: 2 }, VddkBlock { offset: 3, length: u64::MAX }];
    let row = Row { symbol: 1, calls: 2, failures: 3, total: 4, longest: 5 };
    let version = crate::version::Version { major: 8, minor: 0, patch: 3 };
    let started = Started { file: PathBuf::from("/kit/lib"), version, present: vec![true, false] };
    let refusal = Refusal {
        kind: 1,
        operation: "start".into(),
        subject: Some("/kit".into()),
        raw: Some(1 << 40),
        text: None,
        advice: Some("try".into()),
        source: None,
    };
    let done = |answer| ToHost::Answered { id: 1, outcome: Outcome::Done { answer } };
    let mut frames: Vec<Vec<u8>> = Vec::new();
    let mut add = |message: &dyn Fn() -> Zeroizing<Vec<u8>>| frames.push(message()[LENGTH..].to_vec());
    for params in [machine, file, certified, object, folder] {
        let message = connect(params.build().unwrap());
        add(&|| encode(&message).unwrap());
    }
    for message in [
        connect(ConnectParams::local()),
        ToWorker::Start { directory: "/kit".into(), config: "/tmp/x".into() },
        ToWorker::Transfer { id: 1, disk: 2, write: true, sector: 3, region: 4, offset: 5, length: 6 },
        ToWorker::Map { region: 1, offset: 0, length: 4096 },
        ToWorker::Unmap { region: 1 },
        ToWorker::Call { id: 1, request: Request::Rename { from: c"/a".into(), to: c"/b".into() } },
    ] {
        add(&|| encode(&message).unwrap());
    }
    for message in [
        ToHost::Hello { fingerprint: FINGERPRINT },
        ToHost::Started { outcome: StartOutcome::Runs { started } },
        ToHost::Started { outcome: StartOutcome::Refused { refusal } },
        done(Answer::Blocks { blocks }),
        done(Answer::Statistics { rows: vec![row] }),
        done(Answer::Text { text: Some("file:nbd".into()) }),
        done(Answer::Bytes { bytes: vec![0, 255] }),
        ToHost::Answered { id: 1, outcome: Outcome::Missing { symbol: 3 } },
        ToHost::Transferred { id: 1, raw: 0 },
        ToHost::Progress { id: 1, percent: 50 },
        ToHost::Log { level: 1, line: "a line".into() },
    ] {
        add(&|| encode(&message).unwrap());
    }
    frames
}

#[test]
fn messages_are_read_as_they_were_written() {
    for frame in frames() {
        assert!(is_message(&frame), "{frame:?}");
    }
}

#[test]
fn secrets_arrive() {
    let params = ConnectParams::remote("vc", VmSpec::moref("vm-1").unwrap(), password()).build().unwrap();
    let frame = encode(&connect(params)).unwrap();
    let Some(Some(ToWorker::Call { id: 7, request: Request::Connect { params, .. } })) =
        receive(&mut Cursor::new(&*frame)).ok()
    else {
        panic!("another message");
    };
    let remote = params.server().unwrap();
    let Credentials::Password { password, .. } = &remote.credentials else { panic!("other credentials") };
    assert_eq!(password.expose_secret(), "hush");
}

#[test]
fn what_is_cut_off_or_continued_is_no_message() {
    for frame in frames() {
        for end in 0..frame.len() {
            assert!(!is_message(&frame[..end]), "{end} of {frame:?}");
        }
        let mut longer = frame;
        longer.push(0);
        assert!(!is_message(&longer));
    }
}

/// Not at random, so that a failure can be repeated; every byte takes every value that has one bit changed, and the extremes.
#[test]
fn damaged_frames_do_no_harm() {
    for frame in frames() {
        for at in 0..frame.len() {
            let values = (0..8).map(|bit| frame[at] ^ (1 << bit)).chain([0, 0x7f, 0x80, 0xff]);
            for value in values {
                let mut damaged = frame.clone();
                damaged[at] = value;
                // What is still a message must be written as it was read: `is_message` asserts it.
                is_message(&damaged);
            }
        }
    }
}

#[test]
fn numbers_alone_make_no_room() {
    // An answer with a list of 2^32 - 1 runs, of which none is there.
    let mut frame = vec![18];
    frame.extend_from_slice(&1u64.to_le_bytes());
    frame.extend_from_slice(&[0, 7]);
    frame.extend_from_slice(&u32::MAX.to_le_bytes());
    assert!(!is_message(&frame));
    let claims = (FRAME_LIMIT as u32 + 1).to_le_bytes();
    let error = receive::<ToHost>(&mut Cursor::new(claims)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::InvalidData);
    // A frame that claims all that is allowed, and ends.
    let claims = (FRAME_LIMIT as u32).to_le_bytes();
    let error = receive::<ToHost>(&mut Cursor::new(claims)).err().unwrap();
    assert_eq!(error.kind(), ErrorKind::UnexpectedEof);
}

/// A reader whose every other read is cut off by a signal.
struct Signalled<'a>(Cursor<&'a [u8]>, bool);

impl std::io::Read for Signalled<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        self.1 = !self.1;
        if self.1 { Err(ErrorKind::Interrupted.into()) } else { self.0.read(buffer) }
    }
}

#[test]
fn a_signal_does_not_end_a_stream() {
    let frame = encode(&ToHost::Progress { id: 1, percent: 1 }).unwrap();
    let mut from = Signalled(Cursor::new(&frame), false);
    assert!(receive::<ToHost>(&mut from).unwrap().is_some());
    assert!(receive::<ToHost>(&mut from).unwrap().is_none());
}

#[test]
fn a_stream_ends_between_messages_only() {
    let frame = encode(&ToHost::Progress { id: 1, percent: 1 }).unwrap();
    let mut twice = frame.to_vec();
    twice.extend_from_slice(&frame);
    let mut from = Cursor::new(&twice);
    assert!(receive::<ToHost>(&mut from).unwrap().is_some());
    assert!(receive::<ToHost>(&mut from).unwrap().is_some());
    assert!(receive::<ToHost>(&mut from).unwrap().is_none());
    let error = receive::<ToHost>(&mut Cursor::new(&twice[..frame.len() + 2])).err();
    assert!(error.is_none());
    let mut cut = Cursor::new(&twice[..frame.len() + 2]);
    assert!(receive::<ToHost>(&mut cut).unwrap().is_some());
    assert_eq!(receive::<ToHost>(&mut cut).err().unwrap().kind(), ErrorKind::UnexpectedEof);
}
