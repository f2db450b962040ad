//! `OptionManager`: settings of the server that clients read and change.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use vim_api::dynamic::{Element, Poly, Value};
use vim_api::types as t;

use crate::dispatch::method_not_found;
use crate::fault::{Outcome, fault, invalid_argument};
use crate::mode::Mode;
use crate::wire::{Answer, Call};
use crate::world::{Shared, World};

const SESSION_TIMEOUT: &str = "config.vmacore.soap.sessionTimeout";
/// The same on a host.
const SESSION_TIMEOUT_OF_HOST: &str = "Config.HostAgent.vmacore.soap.sessionTimeout";
const INSTANCE_NAME: &str = "VirtualCenter.InstanceName";

/// A setting: its key, what it is for, its value at first.
type Known = (&'static str, &'static str, Setting);

const LOG_LEVEL: &str = "Level of the server's log";
const IDLE: &str = "Minutes after which an idle session ends";
const IDLE_MINUTES: Setting = Setting::Number { min: 1, max: 1440, first: 30 };

/// What a host by itself has.
const OF_HOST: &[Known] = &[
    ("Config.HostAgent.log.level", LOG_LEVEL, Setting::Text("info")),
    (SESSION_TIMEOUT_OF_HOST, IDLE, IDLE_MINUTES),
];

/// What a vCenter has.
const OF_CENTER: &[Known] = &[
    ("config.log.level", LOG_LEVEL, Setting::Text("info")),
    (SESSION_TIMEOUT, IDLE, IDLE_MINUTES),
    (
        "config.vpxd.hostPasswordLength",
        "Length of the passwords that are set on hosts",
        Setting::Number { min: 8, max: 128, first: 32 },
    ),
    ("event.maxAge", "Days for which events are kept", Setting::Number { min: 1, max: 3650, first: 30 }),
    ("event.maxAgeEnabled", "Whether old events are removed", Setting::Flag(true)),
    ("task.maxAge", "Days for which tasks are kept", Setting::Number { min: 1, max: 3650, first: 30 }),
    ("task.maxAgeEnabled", "Whether old tasks are removed", Setting::Flag(true)),
    (INSTANCE_NAME, "Name of this server", Setting::Text("")),
    (
        "VirtualCenter.VimPasswordExpirationInDays",
        "Days until passwords of hosts are changed",
        Setting::Number { min: 1, max: 3650, first: 30 },
    ),
    ("VirtualCenter.FQDN", "Host name of this server", Setting::Text("127.0.0.1")),
];

#[derive(Clone, Copy)]
enum Setting {
    Text(&'static str),
    Number { min: i32, max: i32, first: i32 },
    Flag(bool),
}

/// What was changed.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(crate) struct Options {
    changed: BTreeMap<String, Changed>,
    /// `SessionManager.message`.
    pub(crate) message: String,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
enum Changed {
    Text(String),
    Number(i32),
    Flag(bool),
}

impl Options {
    fn value(&self, key: &str, setting: Setting, name: &str) -> Value {
        match (self.changed.get(key), setting) {
            (Some(Changed::Text(text)), _) => Value::String(text.clone()),
            (Some(Changed::Number(number)), _) => Value::Int(*number),
            (Some(Changed::Flag(flag)), _) => Value::Bool(*flag),
            (None, Setting::Text(_)) if key == INSTANCE_NAME => Value::String(name.to_owned()),
            (None, Setting::Text(first)) => Value::String(first.to_owned()),
            (None, Setting::Number { first, .. }) => Value::Int(first),
            (None, Setting::Flag(first)) => Value::Bool(first),
        }
    }

    /// After how long an idle session ends.
    pub(crate) fn session_timeout(&self) -> Duration {
        let changed =
            [SESSION_TIMEOUT, SESSION_TIMEOUT_OF_HOST].iter().find_map(|key| self.changed.get(*key));
        let minutes = match changed {
            Some(Changed::Number(minutes)) => u64::try_from(*minutes).unwrap_or(30),
            _ => 30,
        };
        Duration::from_secs(minutes * 60)
    }
}

fn known(mode: Mode) -> &'static [Known] {
    match mode {
        Mode::VirtualCenter => OF_CENTER,
        Mode::HostAgent => OF_HOST,
    }
}

impl World {
    /// A property of the manager.
    pub(crate) fn option_property(&self, name: &str) -> Option<Value> {
        match name {
            "setting" => {
                let all = self.settings_under("").into_iter().map(|option| option.to_value());
                Some(Value::array("OptionValue", all.collect()))
            }
            "supportedOption" => {
                let all = known(self.mode())
                    .iter()
                    .map(|(key, what, setting)| definition(key, what, *setting).to_value());
                Some(Value::array("OptionDef", all.collect()))
            }
            _ => None,
        }
    }

    /// The settings of a key, or below it if it ends with a dot.
    fn settings_under(&self, prefix: &str) -> Vec<t::OptionValue> {
        let wanted = |key: &str| {
            prefix.is_empty() || key == prefix || (prefix.ends_with('.') && key.starts_with(prefix))
        };
        let known = known(self.mode()).iter().filter(|(key, ..)| wanted(key));
        let option = |(key, _, setting): &Known| t::OptionValue {
            key: (*key).to_owned(),
            value: Some(self.stored.options.value(key, *setting, "vsphere-sim")),
            ..Default::default()
        };
        known.map(option).collect()
    }
}

/// Carries a call out.
pub(crate) fn call(shared: &Shared, call: &Call) -> Outcome<Answer> {
    match call.method.as_str() {
        "QueryOptions" => {
            let name: String = call.optional("name")?.unwrap_or_default();
            let found = shared.read(|world| world.settings_under(&name));
            if found.is_empty() {
                return Err(unknown(&name));
            }
            Ok(Answer::many(call, &found))
        }
        "UpdateOptions" => {
            let wanted: Vec<Poly<t::OptionValue>> = call.list("changedValue")?;
            let mode = shared.read(|world| world.mode());
            let checked = wanted.iter().map(|option| check(mode, option)).collect::<Outcome<Vec<_>>>()?;
            shared.update(|world| {
                world.stored.options.changed.extend(checked);
                world.touch();
            });
            Ok(Answer::void())
        }
        _ => Err(method_not_found(call)),
    }
}

fn check(mode: Mode, option: &t::OptionValue) -> Outcome<(String, Changed)> {
    let known = known(mode).iter().find(|(key, ..)| *key == option.key);
    let (_, _, setting) = known.ok_or_else(|| unknown(&option.key))?;
    let changed = match (setting, &option.value) {
        (Setting::Text(_), Some(Value::String(text))) => Changed::Text(text.clone()),
        (Setting::Flag(_), Some(Value::Bool(flag))) => Changed::Flag(*flag),
        (Setting::Number { min, max, .. }, Some(Value::Int(number))) if (min..=max).contains(&number) => {
            Changed::Number(*number)
        }
        (Setting::Number { min, max, .. }, Some(Value::Int(_))) => {
            let message = format!("\"{}\" is a number from {min} to {max}.", option.key);
            return Err(invalid_argument("changedValue.value", message));
        }
        _ => {
            let message = format!("The value of \"{}\" is of another type.", option.key);
            return Err(invalid_argument("changedValue.value", message));
        }
    };
    Ok((option.key.clone(), changed))
}

fn unknown(key: &str) -> crate::fault::Fault {
    let value = t::InvalidName { name: key.to_owned(), ..Default::default() };
    fault(value, format!("There is no setting \"{key}\"."))
}

fn definition(key: &str, what: &str, setting: Setting) -> t::OptionDef {
    let base = t::OptionType { value_is_readonly: Some(false), ..Default::default() };
    let option_type: Poly<t::OptionType> = match setting {
        Setting::Text(first) => {
            Poly::new(t::StringOption { base, default_value: first.to_owned(), ..Default::default() })
        }
        Setting::Number { min, max, first } => {
            Poly::new(t::IntOption { base, min, max, default_value: first })
        }
        Setting::Flag(first) => Poly::new(t::BoolOption { base, supported: true, default_value: first }),
    };
    let description =
        t::Description { label: key.to_owned(), summary: what.to_owned(), ..Default::default() };
    t::OptionDef { base: t::ElementDescription { base: description, key: key.to_owned() }, option_type }
}
